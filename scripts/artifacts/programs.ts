import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** A program as one that this host can run: what is carried on a USB stick or by hand may have lost its mode. */
export async function runnableProgram(
  { path, sha256 }: { readonly path: string; readonly sha256: string },
  cache: string,
  name: string,
): Promise<string> {
  const copy = join(cache, 'programs', sha256.slice(0, 16), name);
  return existsSync(copy) ? copy : placeProgram(copy, (to) => copyFile(path, to));
}

/** Makes a file that can be run, there whole or not at all; `write` writes it under another name first. */
export async function placeProgram(path: string, write: (path: string) => Promise<void>): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  await write(temporary);
  await chmod(temporary, 0o755);
  await rename(temporary, path);
  return path;
}
