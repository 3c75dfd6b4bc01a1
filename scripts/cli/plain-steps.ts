import type { ReadyStep } from '../commands/steps.ts';
import type { LabEvent } from '../shared/events.ts';
import { durationText, progressText } from './text.ts';

/** Runs steps as plain lines, for pipes and logs: one when a step begins, its notes, one when it ends. */
export async function plainSteps(steps: readonly ReadyStep[], write: (line: string) => void): Promise<void> {
  const began = performance.now();
  const stamp = () => `[${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s]`;
  for (const [index, { title, run }] of steps.entries()) {
    const name = `${index + 1}/${steps.length} ${title}`;
    const started = performance.now();
    const took = () => durationText(performance.now() - started);
    write(`${stamp()} ${name} ...`);
    let last = '';
    try {
      const changed = await run((event) => {
        const text = eventText(event);
        if (text !== last) write(`${stamp()}   ${text}`);
        last = text;
      });
      write(`${stamp()} ${name}: ${changed ? 'done' : 'ok, nothing changed'} (${took()})`);
    } catch (error) {
      write(`${stamp()} ${name}: FAILED after ${took()}`);
      throw error;
    }
  }
}

/** What a running step says, in one line. */
export function eventText(event: LabEvent): string {
  if (event.type === 'progress') return progressText(event.done, event.total, event.secondsLeft);
  return event.type === 'warning' ? `warning: ${event.text}` : event.text;
}
