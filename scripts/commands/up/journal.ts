import { messageOf } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { LabState } from '../state.ts';
import type { StepResult, StepRunner, StepTiming } from '../steps.ts';

/** Wraps a step runner: every step is timed and its beginning and end go to the lab's journal. */
export function timedSteps(
  inner: StepRunner,
  command: string,
  state: LabState,
): { readonly steps: StepRunner; readonly timings: readonly StepTiming[] } {
  const timings: StepTiming[] = [];
  const run = async <T>(step: string, work: (emit: Emit) => Promise<StepResult<T>>): Promise<T> => {
    const started = performance.now();
    const elapsed = () => Math.round(performance.now() - started);
    await state.journal({ at: new Date().toISOString(), command, step, outcome: 'started' });
    return inner.run(step, async (emit) => {
      try {
        const result = await work(emit);
        const { changed } = result;
        timings.push({ step, ms: elapsed(), changed });
        const outcome = changed ? 'changed' : 'unchanged';
        await state.journal({ at: new Date().toISOString(), command, step, outcome, ms: elapsed() });
        return result;
      } catch (error) {
        const message = messageOf(error);
        await state.journal({
          at: new Date().toISOString(),
          command,
          step,
          outcome: 'failed',
          ms: elapsed(),
          message,
        });
        throw error;
      }
    });
  };
  return { steps: { run }, timings };
}
