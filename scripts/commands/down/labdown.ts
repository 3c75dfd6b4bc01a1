import type { ObservedThing } from '../../machines/driver.ts';
import type { LabPlan } from '../../plan/types.ts';
import { LabFailure } from '../../shared/errors.ts';
import { scaleTimeouts } from '../../shared/timeouts.ts';
import { type Deps, requireConsent } from '../deps.ts';
import {
  type DriverView,
  type LabOptions,
  labName,
  makersOf,
  observeByDriver,
  observeLab,
} from '../lab-file.ts';
import { LabState } from '../state.ts';
import { Steps } from '../steps.ts';

export interface DownOptions extends LabOptions {
  readonly yes?: boolean | undefined;
  /** Driver ssh: also the packages that labup installed. */
  readonly purge?: boolean | undefined;
}

/** What labdown works on. */
interface DownStart {
  readonly deps: Deps;
  readonly options: DownOptions;
  readonly lab: string;
  readonly state: LabState;
  /** The plan that the lab was made from, if it can be read. */
  readonly plan: LabPlan | undefined;
  readonly views: readonly DriverView[];
}

/** labdown, in order. */
const DOWN_STEPS = new Steps<DownStart>()
  .step({
    id: 'remove',
    title: 'Everything of the lab',
    why: "what carries this lab's owner label, and its folder here",
    run: async ({ deps, options, lab, state, plan, views }, emit) => {
      const makers = plan === undefined ? makersOf(deps, options, views) : [];
      const changed = state.exists() || views.some(({ things }) => things.length > 0);
      await state.lockedIfThere('labdown', async () => {
        for (const { driver } of views) {
          const elsewhere = makers.length > 0 && !makers.includes(driver.name);
          await driver.remove(lab, emit, { purge: options.purge, elsewhere });
        }
        await state.remove();
      });
      return { changed };
    },
  })
  .step({
    id: 'leftovers',
    title: 'Leftovers',
    why: 'looked for by label; none may be there',
    run: async ({ deps, lab, plan }) => {
      const left = await observeLab(deps, lab, plan);
      if (left.length > 0)
        throw new LabFailure(`Not everything of lab "${lab}" could be removed.`, {
          details: left.map(({ kind, name, state }) => `${kind} ${name} (${state})`),
          next: 'npx labdown --yes',
        });
      return { changed: false };
    },
  });

/** The result of a labdown. */
export interface DownResult {
  readonly lab: string;
  readonly removed: readonly ObservedThing[];
}

/**
 * `labdown`: removes everything of the lab by its owner label, so it works with .lab/ deleted and with a half-built
 * lab, and again on nothing. Throws LabFailure (exit 1) naming whatever is left.
 */
export async function labdown(deps: Deps, options: DownOptions): Promise<DownResult> {
  const lab = labName(deps, options);
  const state = new LabState(deps.cwd, lab);
  // A damaged plan must not keep its lab from being removed.
  const plan = await state.load('plan').catch(() => undefined);
  scaleTimeouts(plan?.timeouts?.scale);
  const views = await observeByDriver(deps, lab, plan);
  const seen = views.flatMap(({ things }) => things);
  const would = [
    ...seen.map(({ kind, name }) => `remove ${kind} ${name}`),
    ...(state.exists() ? [`remove the folder ${state.dir}`] : []),
  ];
  await requireConsent(deps, options.yes, would, 'npx labdown');
  await DOWN_STEPS.run({ deps, options, lab, state, plan, views }, deps.runSteps);
  return { lab, removed: seen };
}
