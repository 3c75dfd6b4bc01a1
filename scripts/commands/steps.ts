import { type Emit, silent } from '../shared/events.ts';

/** One line of a command's visible list. */
export interface StepTitle {
  readonly id: string;
  readonly title: string;
  readonly why: string;
}

/** What a step came to: its value, and whether anything had to be changed. */
export interface StepResult<T> {
  readonly value: T;
  readonly changed: boolean;
}

/** Runs the steps of a command one after another and shows them; the real one is in cli/, tests have their own. */
export interface StepRunner {
  run<T>(id: string, work: (emit: Emit) => Promise<StepResult<T>>): Promise<T>;
}

/** How long one step took, for the timing table. */
export interface StepTiming {
  readonly step: string;
  readonly ms: number;
  readonly changed: boolean;
}

/** Runs the steps of a test within another command's step, which shows what they say. */
export function stepsWithin(emit: Emit): StepRunner {
  return { run: async (_id, work) => (await work(emit)).value };
}

/** Runs steps that nobody sees. */
export const unseenSteps: StepRunner = stepsWithin(silent);
