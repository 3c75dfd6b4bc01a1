import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { MachineDriver, ObservedThing } from '../machines/driver.ts';
import type { LabPlan } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import { assetPath } from '../shared/files.ts';
import { loadSpec } from '../spec/load.ts';
import { DRIVER_NAMES } from '../spec/names.ts';
import { nameProblem } from '../spec/problems.ts';
import type { DriverName } from '../spec/types.ts';
import type { Deps } from './deps.ts';
import { LabState } from './state.ts';

/** Which lab a command works on. */
export interface LabOptions {
  /** Path of its lab.yaml; without it labFile says which. */
  readonly file?: string | undefined;
  /** The lab's name, for commands that need no more of lab.yaml. */
  readonly name?: string | undefined;
}

/** The lab.yaml that was named, else that of this folder, else the package's own: the default lab. */
export function labFile(
  { cwd }: Pick<Deps, 'cwd'>,
  { file }: LabOptions,
): { readonly path: string; readonly isDefaultLab: boolean } {
  const path = resolve(cwd, file ?? 'lab.yaml');
  const isDefaultLab = file === undefined && !existsSync(path);
  return { path: isDefaultLab ? assetPath('lab.yaml') : path, isDefaultLab };
}

/**
 * The lab's name as --name or lab.yaml gives it; without both, that of the only lab that was made in this folder, else the
 * default lab's. Throws UserError where it is no name.
 */
export function labName(deps: Pick<Deps, 'cwd'>, options: LabOptions): string {
  const { name } = options;
  if (name === undefined) {
    const { path, isDefaultLab } = labFile(deps, options);
    const [only, ...more] = isDefaultLab ? labsIn(deps.cwd) : [];
    return only !== undefined && more.length === 0 ? only : loadSpec(path).name;
  }
  // The name becomes a path below .lab/, which labdown removes.
  const fault = nameProblem(name);
  if (fault !== undefined) throw new UserError(`--name: ${fault.message}`, { next: fault.hint });
  return name;
}

/** The lab that the command line names, and the plan that it was made by. Throws UserError where there is none. */
export async function existingLab(
  deps: Pick<Deps, 'cwd'>,
  options: LabOptions,
): Promise<{ readonly state: LabState; readonly plan: LabPlan }> {
  const state = new LabState(deps.cwd, labName(deps, options));
  return { state, plan: await state.requirePlan() };
}

function labsIn(cwd: string): readonly string[] {
  const folder = join(cwd, '.lab');
  return existsSync(folder) ? readdirSync(folder).filter((name) => nameProblem(name) === undefined) : [];
}

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
