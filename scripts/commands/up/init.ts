import { writeFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { messageOf, UserError } from '../../shared/errors.ts';
import { assetPath, readAsset } from '../../shared/files.ts';
import type { Deps } from '../deps.ts';

/** The line that tells an editor which schema lab.yaml has. */
const SCHEMA_LINE = /(?<=^# yaml-language-server: \$schema=)\S+$/m;

/**
 * `lab init`: writes the default lab's lab.yaml, its schema line leading to this package, and returns its path. Throws
 * UserError where there is a file already, which stays as it is, or none can be written.
 */
export async function initLab({ cwd }: Pick<Deps, 'cwd'>, file = 'lab.yaml'): Promise<string> {
  const path = resolve(cwd, file);
  const schema = relative(dirname(path), assetPath('lab.schema.json'));
  const text = readAsset('lab.yaml').replace(SCHEMA_LINE, () => schema);
  await writeFile(path, text, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST')
      throw new UserError(`${path} exists already; it was left as it is.`, {
        next: 'edit it, or name another file: npx lab init --file PATH',
      });
    throw new UserError(`${path} cannot be written: ${messageOf(error)}`, {
      next: 'npx lab init --file PATH, in a folder that you can write to',
    });
  });
  return path;
}
