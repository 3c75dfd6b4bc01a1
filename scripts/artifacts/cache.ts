import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, open, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';

/** What a finished artifact says about itself; written last, so its presence means that everything else is there. */
const manifestSchema = z.object({
  schemaVersion: z.literal(1),
  id: z.string(),
  key: z.string(),
  madeAt: z.string(),
  seconds: z.number(),
  files: z.record(z.string(), z.object({ bytes: z.number(), sha256: z.string() })),
});
export type Manifest = z.infer<typeof manifestSchema>;

const MANIFEST = 'manifest.json';

/** `$XDG_CACHE_HOME/k8s-bgp-lab`, by default ~/.cache/k8s-bgp-lab. A relative XDG path is invalid and ignored, as the standard says. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env.XDG_CACHE_HOME;
  const base = xdg?.startsWith('/') ? xdg : join(env.HOME ?? homedir(), '.cache');
  return join(base, 'k8s-bgp-lab');
}

/** The folder of one artifact: found by what made it. */
export function artifactFolder(cache: string, id: string, key: string): string {
  return join(cache, `${id}-${key.slice(0, 16)}`);
}

/**
 * Why a cached artifact cannot be used, or undefined where it is whole: every file has the length that the manifest says.
 * Never throws for what it finds.
 */
export async function cacheProblem(folder: string, key: string): Promise<string | undefined> {
  const text = await readFile(join(folder, MANIFEST), 'utf8').catch(() => undefined);
  if (text === undefined) return 'not in the cache';
  let manifest: Manifest;
  try {
    manifest = manifestSchema.parse(JSON.parse(text));
  } catch {
    return 'its manifest is not readable';
  }
  if (manifest.key !== key) return 'its manifest is of another recipe';
  for (const [name, expected] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    const seen = await stat(path).catch(() => undefined);
    if (seen === undefined) return `${name} is missing`;
    if (seen.size !== expected.bytes) return `${name} has ${seen.size} bytes instead of ${expected.bytes}`;
  }
  return undefined;
}

/** The SHA-256 of each file of an artifact, by name, as noted when it was made. The artifact must be in the cache. */
export async function artifactSums(folder: string): Promise<Readonly<Record<string, string>>> {
  const { files } = manifestSchema.parse(JSON.parse(await readFile(join(folder, MANIFEST), 'utf8')));
  return Object.fromEntries(Object.entries(files).map(([name, { sha256 }]) => [name, sha256]));
}

/** Makes a built folder the artifact: manifest, everything synced to disk, one rename. */
export async function commitArtifact(
  built: string,
  folder: string,
  about: { readonly id: string; readonly key: string; readonly seconds: number },
): Promise<void> {
  const described = (await filesBelow(built)).map(async (path) => {
    const [{ size: bytes }, sha256] = await Promise.all([stat(path), sha256File(path), sync(path)]);
    return [relative(built, path), { bytes, sha256 }] as const;
  });
  const files: Manifest['files'] = Object.fromEntries(await Promise.all(described));
  if (Object.keys(files).length === 0) throw new Error(`the build of ${about.id} made no file`);
  const manifest: Manifest = { schemaVersion: 1, ...about, madeAt: new Date().toISOString(), files };
  await writeFile(join(built, MANIFEST), `${JSON.stringify(manifest, undefined, 2)}\n`);
  await sync(join(built, MANIFEST));
  await sync(built);
  await mkdir(dirname(folder), { recursive: true });
  await rename(built, folder);
  await sync(dirname(folder));
}

/** The SHA-256 of a file's content, in hex. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

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
