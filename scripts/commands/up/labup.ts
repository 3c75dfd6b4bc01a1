import type { HostWork } from '../../machines/packages.ts';
import { PACKAGES_CHECK, problemsOf } from '../../plan/doctor/checks.ts';
import { planAtLast } from '../../plan/found.ts';
import {
  formatHostProblem,
  type HostProblem,
  hostError,
  isError,
  type MissingPackage,
  nameOf,
} from '../../plan/host-facts.ts';
import type { LabPlan } from '../../plan/types.ts';
import { type PlanTextExtra, renderPlan } from '../../render/plan-text.ts';
import { messageOf } from '../../shared/errors.ts';
import { scaleTimeouts } from '../../shared/timeouts.ts';
import { type Deps, requireConsent } from '../deps.ts';
import { type JournalEntry, LabState } from '../state.ts';
import { type RunSteps, type StepTiming, timed } from '../steps.ts';
import { type PlanOptions, planFromSpec, refuseOtherPlan, type WantedPlan } from './load-plan.ts';
import { preflight } from './preflight.ts';
import { processorMeter } from './processor-time.ts';
import { upSteps } from './steps.ts';

export interface UpOptions extends PlanOptions {
  readonly yes?: boolean | undefined;
}

/** What labup would do on this host, looked up without changing anything. */
interface Preview extends Pick<WantedPlan, 'plan' | 'flags'> {
  readonly text: PlanTextExtra;
  readonly packages: readonly MissingPackage[];
  readonly work: HostWork;
  /** What is wrong with this host. */
  readonly problems: readonly HostProblem[];
  /** What else needs the user's leave. */
  readonly asks: readonly string[];
}

/** The result of a labup. */
export interface UpResult {
  readonly plan: LabPlan;
  readonly stateDir: string;
  readonly changed: boolean;
  readonly durationMs: number;
  readonly timings: readonly StepTiming[];
}

/** `labup`: preflight, consent, then the steps. Throws UserError before anything was touched, LabFailure after. */
export async function labup(deps: Deps, options: UpOptions): Promise<UpResult> {
  const started = performance.now();
  const { plan, flags, text, packages, work, asks, problems } = await preview(deps, options);
  scaleTimeouts(plan.timeouts?.scale);
  const error = hostError(problems);
  if (error !== undefined) throw error;
  for (const warning of text.warnings ?? []) deps.say(`warning: ${warning}`);
  for (const [what, { value, why }] of Object.entries(plan.choices)) deps.say(`${what}: ${value} (${why})`);
  const installs = packages.map((each) => `install ${nameOf(each)} with apt`);
  await requireConsent(deps, options.yes, [...installs, ...asks], 'npx labup');

  const state = new LabState(deps.cwd, plan.lab);
  const driver = await deps.driver(plan.choices.driver.value);
  await state.create();
  return state.locked('labup', async (closing) => {
    await state.save('flags', flags);
    // Addresses that are still to be found: the last ones are known until then, so that a killed labup takes nothing away.
    await state.save('plan', planAtLast(plan, await state.load('plan')));
    const timings: StepTiming[] = [];
    const start = { deps, driver, plan, state, work, packages, closing };
    const runSteps = journaled(timed(deps.runSteps, timings, processorMeter), 'labup', state);
    const complete = await upSteps(driver, plan).run(start, runSteps);
    await state.save('timings', timings);
    return {
      plan: complete.plan,
      stateDir: state.dir,
      changed: timings.some(({ changed }) => changed),
      durationMs: Math.round(performance.now() - started),
      timings,
    };
  });
}

/**
 * `labup --dry-run`: the plan as text (and as data), and nothing touched. Where this host cannot take the lab the plan says
 * at what labup would stop.
 */
export async function dryRun(deps: Deps, options: UpOptions): Promise<{ plan: LabPlan; text: string }> {
  const { plan, text } = await preview(deps, options);
  return { plan, text: renderPlan(plan, text) };
}

async function preview(deps: Deps, options: UpOptions): Promise<Preview> {
  const { plan, flags, made } = await planFromSpec(deps, options);
  refuseOtherPlan(made, plan);
  const driver = await deps.driver(plan.choices.driver.value);
  const { checks, ours, work, packages, toBuild: missing } = await preflight(deps, plan, made);
  const problems = problemsOf(checks);
  // It asks before it installs packages.
  const warnings = problemsOf(checks.filter(({ id }) => id !== PACKAGES_CHECK)).filter(
    (each) => !isError(each),
  );
  return {
    plan,
    flags,
    problems,
    packages,
    work,
    asks: driver.asks(plan, ours),
    text: {
      steps: upSteps(driver, plan).titles,
      toInstall: packages.map((need) => `${nameOf(need)} (${need.for})`),
      toBuild: missing.map(({ name, minutes }) => `${name} (about ${minutes} min)`),
      hostChanges: [...driver.changes(plan), `.lab/${plan.lab}/ here: plan, keys, kubeconfig, logs`],
      stops: problems.filter(isError).map(formatHostProblem),
      warnings: warnings.map(formatHostProblem),
    },
  };
}

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
