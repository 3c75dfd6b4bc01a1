import type { MachineDriver, ObservedThing } from '../machines/driver.ts';
import type { LabPlan } from '../plan/types.ts';
import { DRIVER_NAMES } from '../spec/schema.ts';
import type { Deps } from './deps.ts';

/** The drivers that can hold something of a lab: the one that made it, or all where nobody knows which that was. */
export function driversOf(deps: Pick<Deps, 'driver'>, plan: LabPlan | undefined): readonly MachineDriver[] {
  return plan === undefined ? DRIVER_NAMES.map(deps.driver) : [deps.driver(plan.choices.driver.value)];
}

/** Everything of a lab that exists outside its state folder. */
export async function observeLab(
  deps: Pick<Deps, 'driver'>,
  lab: string,
  plan: LabPlan | undefined,
): Promise<readonly ObservedThing[]> {
  return (await Promise.all(driversOf(deps, plan).map((driver) => driver.observe(lab)))).flat();
}
