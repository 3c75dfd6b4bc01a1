import type { MachineDriver, ObservedThing } from '../machines/driver.ts';
import type { LabPlan } from '../plan/types.ts';
import { loadSpec } from '../spec/load.ts';
import { DRIVER_NAMES } from '../spec/names.ts';
import type { DriverName } from '../spec/types.ts';
import type { Deps } from './deps.ts';
import { type LabOptions, labFile } from './lab-file.ts';

/** What a driver sees of a lab outside its state folder. */
export interface DriverView {
  readonly driver: MachineDriver;
  readonly things: readonly ObservedThing[];
}

/** What each driver that can hold something of a lab sees of it: the one that made it, or all where nobody knows which. */
export async function observeByDriver(
  deps: Pick<Deps, 'driver'>,
  lab: string,
  plan: LabPlan | undefined,
): Promise<readonly DriverView[]> {
  const names = plan === undefined ? DRIVER_NAMES : [plan.choices.driver.value];
  return Promise.all(
    names.map(async (name) => {
      const driver = await deps.driver(name);
      return { driver, things: await driver.observe(lab) };
    }),
  );
}

/** Everything of a lab that exists outside its state folder. */
export async function observeLab(
  deps: Pick<Deps, 'driver'>,
  lab: string,
  plan: LabPlan | undefined,
): Promise<readonly ObservedThing[]> {
  return (await observeByDriver(deps, lab, plan)).flatMap(({ things }) => things);
}

/**
 * The drivers that are known to have made a lab whose plan is lost: the one that lab.yaml names, else those that see
 * something of it; none where nobody knows. With --name lab.yaml may be another lab's.
 */
export function makersOf(
  deps: Pick<Deps, 'cwd'>,
  options: LabOptions,
  views: readonly DriverView[],
): readonly DriverName[] {
  const named = options.name === undefined ? loadSpec(labFile(deps, options).path).driver : 'auto';
  if (named !== 'auto') return [named];
  return views.filter(({ things }) => things.length > 0).map(({ driver }) => driver.name);
}
