import type { StepResult, StepRunner, StepTitle } from '../commands/steps.ts';
import type { Emit } from '../shared/events.ts';
import { durationText, progressText } from './clock-text.ts';

/** Steps as plain lines, for pipes and logs: one when a step begins, its notes, one when it ends. */
export function plainSteps(titles: readonly StepTitle[], write: (line: string) => void): StepRunner {
  const began = performance.now();
  const stamp = () => `[${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s]`;
  return {
    async run<T>(id: string, work: (emit: Emit) => Promise<StepResult<T>>): Promise<T> {
      const index = titles.findIndex((step) => step.id === id);
      const title = titles[index]?.title ?? id;
      const name = `${index + 1}/${titles.length} ${title}`;
      const started = performance.now();
      write(`${stamp()} ${name} ...`);
      let last = '';
      const say = (text: string) => {
        if (text !== last) write(`${stamp()}   ${text}`);
        last = text;
      };
      try {
        const { value, changed } = await work((event) => {
          if (event.type === 'progress') say(progressText(event.done, event.total, event.secondsLeft));
          else say(event.type === 'warning' ? `warning: ${event.text}` : event.text);
        });
        const took = durationText(performance.now() - started);
        write(`${stamp()} ${name}: ${changed ? 'done' : 'ok, nothing changed'} (${took})`);
        return value;
      } catch (error) {
        write(`${stamp()} ${name}: FAILED after ${durationText(performance.now() - started)}`);
        throw error;
      }
    },
  };
}
