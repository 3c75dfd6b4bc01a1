import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { sha256File } from '../cache.ts';
import type { Bundle } from './bundle.ts';
import { incomplete } from './complete.ts';
import { BUNDLE_FILE } from './manifest.ts';

/** How a file looked when its content was last checked: a change of the content changes one of these. */
interface Seen {
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly inode: number;
}

/**
 * Everything that is wrong with a bundle's folder, one line each: files that are missing, altered or not listed, and what
 * a lab needs and it does not have. Reads every byte, unless `cache` is given and holds the note of an earlier check of
 * the same files, untouched since.
 */
export async function bundleProblems(
  bundle: Bundle,
  { cache, emit }: { readonly cache?: string; readonly emit?: Emit } = {},
): Promise<readonly string[]> {
  const { folder, manifest } = bundle;
  const note = cache === undefined ? undefined : join(cache, 'bundles', `${noteKey(bundle)}.json`);
  const before = note === undefined ? {} : await readNote(note);
  const listed = new Set<string>([BUNDLE_FILE, ...manifest.files.map(({ path }) => path)]);
  const extra = (await filesBelow(folder)).filter((path) => !listed.has(path));
  const problems = [...incomplete(manifest)];
  const seen: Record<string, Seen> = {};
  for (const { path, sha256 } of manifest.files) {
    const found = await lookAt(join(folder, path));
    if (found === undefined) {
      problems.push(`${path}: missing`);
      continue;
    }
    seen[path] = found;
    if (isSame(before[path], found)) continue;
    emit?.({ type: 'note', text: `checking ${path}` });
    const actual = await sha256File(join(folder, path));
    if (actual !== sha256) problems.push(`${path}: altered: its SHA-256 is ${actual}, not ${sha256}`);
  }
  problems.push(...extra.map((path) => `${path}: not listed in ${BUNDLE_FILE}`));
  if (note !== undefined && problems.length === 0) await writeNote(note, seen);
  return problems;
}

/** Checks a bundle as labup does. Throws UserError that names everything that is wrong. */
export async function requireWhole(
  bundle: Bundle,
  options: { readonly cache?: string; readonly emit?: Emit } = {},
): Promise<void> {
  const problems = await bundleProblems(bundle, options);
  if (problems.length === 0) return;
  throw new UserError(`The bundle ${bundle.folder} is not whole.`, {
    details: problems,
    next: 'Copy it again from where it was made, or make it again: npx lab bundle create --from online DIR',
  });
}

function noteKey({ folder, manifest }: Bundle): string {
  return createHash('sha256')
    .update(JSON.stringify([folder, manifest]))
    .digest('hex')
    .slice(0, 16);
}

function isSame(a: Seen | undefined, b: Seen): boolean {
  return a !== undefined && a.bytes === b.bytes && a.modifiedMs === b.modifiedMs && a.inode === b.inode;
}

async function lookAt(path: string): Promise<Seen | undefined> {
  // A link could lead out of the folder that is carried; stat follows it, so content is checked either way.
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? { bytes: found.size, modifiedMs: found.mtimeMs, inode: found.ino } : undefined;
}

// A note that cannot be read means no more than that the files are read once more.
async function readNote(path: string): Promise<Readonly<Record<string, Seen>>> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Readonly<Record<string, Seen>>;
  } catch {
    return {};
  }
}

async function writeNote(path: string, seen: Readonly<Record<string, Seen>>): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(`${path}.${process.pid}`, JSON.stringify(seen));
  await rename(`${path}.${process.pid}`, path);
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}
