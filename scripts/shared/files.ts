import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file as it has to be on a machine. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
  /** Octal mode, default 0o644. */
  readonly mode?: number;
  /** "user:group", default root:root. */
  readonly owner?: string;
}

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

/** For a `catch`: this value where the file or folder is not there; whatever else went wrong is thrown. */
export function ifMissing<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT') return value;
    throw error;
  };
}

/** Writes a file, whole or not at all, and the folders above it; those of a private file are private too. */
export async function writeAtomic(path: string, content: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: mode === 0o600 ? 0o700 : 0o755 });
  const temporary = `${path}.${process.pid}.new`;
  try {
    await writeFile(temporary, content, { mode, flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
