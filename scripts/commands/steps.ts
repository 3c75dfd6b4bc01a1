import { type Emit, silent } from '../shared/events.ts';

/** One step as it is shown. */
export interface StepTitle {
  readonly id: string;
  readonly title: string;
  readonly why: string;
}

/**
 * One step of a command. It gets what the command started with and what the steps before it returned, and returns what
 * it adds, and whether anything had to be changed.
 */
export interface Step<Have, More> extends StepTitle {
  readonly run: (have: Have, emit: Emit) => Promise<{ readonly changed: boolean } & More>;
}

/** A step with all that it needs; returns whether it changed anything. */
export interface ReadyStep extends StepTitle {
  readonly run: (emit: Emit) => Promise<boolean>;
}

/** Runs steps one after another and shows them; the real ones are in cli/. */
export type RunSteps = (steps: readonly ReadyStep[]) => Promise<void>;

/** The steps of a command, in order. `Start` is what the first one gets, `End` what there is after the last one. */
export class Steps<Start extends object, End extends object = Start> {
  readonly #steps: readonly Step<never, object>[];

  constructor(steps: readonly Step<never, object>[] = []) {
    this.#steps = steps;
  }

  get titles(): readonly StepTitle[] {
    return this.#steps;
  }

  /** These steps, and one more. */
  step<More extends object>(step: Step<End, More>): Steps<Start, End & Omit<More, 'changed'>> {
    return new Steps([...this.#steps, step as Step<never, object>]);
  }

  /** These steps, and one more if it is needed. */
  stepIf(needed: boolean, step: Step<End, object>): Steps<Start, End> {
    return needed ? new Steps([...this.#steps, step]) : this;
  }

  /** These steps, and others after them. */
  and<Last extends object>(others: Steps<End, Last>): Steps<Start, Last> {
    return new Steps([...this.#steps, ...others.#steps]);
  }

  /** Runs all steps; where one throws, so does this. */
  async run(start: Start, runSteps: RunSteps): Promise<End> {
    let have: object = { ...start };
    await runSteps(
      this.#steps.map(({ run, ...title }) => ({
        ...title,
        run: async (emit) => {
          const { changed, ...more } = await run(have as never, emit);
          have = { ...have, ...more };
          return changed;
        },
      })),
    );
    return have as End;
  }
}

/** How long one step took. */
export interface StepTiming {
  readonly step: string;
  readonly ms: number;
  readonly changed: boolean;
  /** The processor time that this host spent meanwhile, on whatever it was. */
  readonly processorMs?: number;
  /** What the step would have taken at least: by its processor time, and by that of the machine that worked longest. */
  readonly leastMs?: number;
}

/** Called when a step begins; returns what says, of its wall time, what else it took. */
export type StepMeter = () => (ms: number) => Pick<StepTiming, 'processorMs' | 'leastMs'>;

/** The same, and every step that ends well is added to `timings`. */
export function timed(
  runSteps: RunSteps,
  timings: StepTiming[],
  meter: StepMeter = () => () => ({}),
): RunSteps {
  return (steps) =>
    runSteps(
      steps.map((step) => ({
        ...step,
        run: async (emit) => {
          const began = performance.now();
          const measured = meter();
          const changed = await step.run(emit);
          const ms = Math.round(performance.now() - began);
          timings.push({ step: step.id, ms, changed, ...measured(ms) });
          return changed;
        },
      })),
    );
}

/** Runs steps within another command's step, which shows what they say. */
export function stepsWithin(emit: Emit): RunSteps {
  return async (steps) => {
    for (const step of steps) await step.run(emit);
  };
}

/** Runs steps that nobody sees. */
export const unseenSteps: RunSteps = stepsWithin(silent);
