import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Software } from '../../plan/software.ts';
import { UserError } from '../../shared/errors.ts';
import { BUNDLE_FILE, type BundleManifest, parseBundle } from './manifest.ts';

/** A folder with a bundle.yaml; whether its files are as that says is another question (check.ts). */
export interface Bundle {
  /** Absolute. */
  readonly folder: string;
  readonly manifest: BundleManifest;
}

/** Reads a bundle's description. Throws UserError where there is none, or it is wrong. */
export function readBundle(folder: string): Bundle {
  const absolute = resolve(folder);
  const path = join(absolute, BUNDLE_FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
    throw new UserError(`${absolute} is no bundle: there is no ${BUNDLE_FILE} in it.`, {
      details: ['A bundle that is still being made has none either: it is written last.'],
      next: `npx lab bundle create --from online ${folder}   (or --from debian)`,
      cause: error,
    });
  }
  return { folder: absolute, manifest: parseBundle(text, path) };
}

/** What a bundle holds, as labup's steps take it. Check its files first. */
export function softwareOf({ folder, manifest }: Bundle): Software {
  const { distribution, cni, versions, files } = manifest;
  return {
    distribution,
    cni,
    versions,
    files: files.map((file) => ({ ...file, path: join(folder, file.path) })),
  };
}
