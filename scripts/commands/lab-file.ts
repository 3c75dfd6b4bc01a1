import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { assetPath } from '../shared/assets.ts';
import { UserError } from '../shared/errors.ts';
import { nameProblem } from '../spec/formats.ts';
import { loadSpec } from '../spec/load.ts';
import type { Deps } from './deps.ts';

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

function labsIn(cwd: string): readonly string[] {
  const folder = join(cwd, '.lab');
  return existsSync(folder) ? readdirSync(folder).filter((name) => nameProblem(name) === undefined) : [];
}
