import type { ObservedThing } from '../../machines/driver.ts';
import { LabFailure } from '../../shared/errors.ts';
import { scaleTimeouts } from '../../shared/timeouts.ts';
import { requireConsent } from '../consent.ts';
import type { Deps } from '../deps.ts';
import { type LabOptions, labName } from '../lab-file.ts';
import { makersOf, observeByDriver, observeLab } from '../observe-lab.ts';
import { LabState } from '../state.ts';
import type { StepTitle } from '../steps.ts';

export interface DownOptions extends LabOptions {
  readonly yes: boolean;
  /** Driver ssh: also the packages that labup installed. */
  readonly purge?: boolean | undefined;
}

/** labdown, in order. */
export const DOWN_STEPS: readonly StepTitle[] = [
  {
    id: 'remove',
    title: 'Machines, bridge and storage',
    why: "everything that carries this lab's owner label",
  },
  { id: 'leftovers', title: 'Leftovers', why: 'looked for by label; none may be there' },
];

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
  const plan = await state.loadPlan().catch(() => undefined);
  scaleTimeouts(plan?.timeouts?.scale);
  const views = await observeByDriver(deps, lab, plan);
  const seen = views.flatMap(({ things }) => things);
  const makers = plan === undefined ? makersOf(deps, options, views) : [];
  const would = [
    ...seen.map(({ kind, name }) => `remove ${kind} ${name}`),
    ...(state.exists() ? [`remove the folder ${state.dir}`] : []),
  ];
  await requireConsent(deps, options.yes, would, 'npx labdown');
  const steps = deps.steps(DOWN_STEPS);
  await steps.run('remove', async (emit) => {
    await state.lockedIfThere('labdown', async () => {
      for (const { driver } of views) {
        const elsewhere = makers.length > 0 && !makers.includes(driver.name);
        await driver.remove(lab, emit, { purge: options.purge, elsewhere });
      }
      await state.remove();
    });
    return { value: undefined, changed: would.length > 0 };
  });
  await steps.run('leftovers', async () => {
    const left = await observeLab(deps, lab, plan);
    if (left.length > 0) {
      throw new LabFailure(`Not everything of lab "${lab}" could be removed.`, {
        details: left.map(({ kind, name, state }) => `${kind} ${name} (${state})`),
        next: 'npx labdown --yes',
      });
    }
    return { value: undefined, changed: false };
  });
  return { lab, removed: seen };
}
