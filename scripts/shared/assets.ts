import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's root folder: two levels up from scripts/shared, three from dist/scripts/shared. */
export const packageRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(from: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new Error(`no package.json above ${from}`);
  }
}

/** The absolute path of a file or folder that ships with the package, e.g. assetPath('frr', 'daemons'). */
export function assetPath(...parts: string[]): string {
  return join(packageRoot, ...parts);
}

/** The text of a file that ships with the package. */
export function readAsset(...parts: string[]): string {
  return readFileSync(assetPath(...parts), 'utf8');
}
