import { messageOf } from '../../shared/errors.ts';
import type { JournalEntry, LabState } from '../state.ts';
import type { RunSteps } from '../steps.ts';

/** The same, and the beginning and the end of every step go to the lab's journal. */
export function journaled(runSteps: RunSteps, command: string, state: LabState): RunSteps {
  return (steps) =>
    runSteps(
      steps.map((step) => ({
        ...step,
        run: async (emit) => {
          const note = (entry: Omit<JournalEntry, 'at' | 'command' | 'step'>) =>
            state.journal({ at: new Date().toISOString(), command, step: step.id, ...entry });
          const began = performance.now();
          const elapsed = () => Math.round(performance.now() - began);
          await note({ outcome: 'started' });
          try {
            const changed = await step.run(emit);
            await note({ outcome: changed ? 'changed' : 'unchanged', ms: elapsed() });
            return changed;
          } catch (error) {
            await note({ outcome: 'failed', ms: elapsed(), message: messageOf(error) });
            throw error;
          }
        },
      })),
    );
}
