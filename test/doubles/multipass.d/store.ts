import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { lockWhenFree } from '../../../scripts/artifacts/lock.ts';
import { isRunning } from '../../../scripts/exec/local.ts';
import type { Instance } from './instance.ts';

const fileOf = (folder: string, name: string): string => join(folder, 'instances', `${name}.json`);

/** Writes a file so that nobody ever reads half of it. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  const fresh = `${path}.${randomUUID()}`;
  await writeFile(fresh, text, { mode: 0o600 });
  await rename(fresh, path);
}

/** One instance; undefined where there is none. */
export async function load(folder: string, name: string): Promise<Instance | undefined> {
  const text = await readFile(fileOf(folder, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : forgetDead(JSON.parse(text) as Instance);
}

/** Every instance, in the order of a hash map: any but the alphabet's, and the same each time. */
export async function loadAll(folder: string): Promise<readonly Instance[]> {
  const files = existsSync(join(folder, 'instances')) ? await readdir(join(folder, 'instances')) : [];
  const names = files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5));
  const hash = (name: string) => createHash('sha256').update(name).digest('hex');
  names.sort((a, b) => (hash(a) < hash(b) ? -1 : 1));
  const all = await Promise.all(names.map((name) => load(folder, name)));
  return all.filter((instance) => instance !== undefined);
}

/** Writes an instance. */
export async function save(folder: string, instance: Instance): Promise<void> {
  await writeWhole(fileOf(folder, instance.name), `${JSON.stringify(instance, undefined, 2)}\n`);
}

/** Changes an instance under its own short lock, so that no change of another process is lost. */
export async function update(folder: string, name: string, change: Partial<Instance>): Promise<void> {
  const lock = await lockWhenFree(`${folder}/record/${name}`, () => {});
  try {
    const instance = await load(folder, name);
    if (instance !== undefined) await save(folder, { ...instance, ...change });
  } finally {
    await lock.release();
  }
}

/** Forgets an instance; its name is free. */
export async function forget(folder: string, name: string): Promise<void> {
  await rm(fileOf(folder, name), { force: true });
}

/** Takes a new name. False where it is taken. */
export async function claim(folder: string, instance: Instance): Promise<boolean> {
  const lock = await lockWhenFree(`${folder}/record/${instance.name}`, () => {});
  try {
    const seen = await load(folder, instance.name);
    if (seen !== undefined) return false;
    await save(folder, instance);
    return true;
  } finally {
    await lock.release();
  }
}

/** Runs an operation on an instance while no other one does. */
export async function withInstance<T>(folder: string, name: string, operation: () => Promise<T>): Promise<T> {
  const lock = await lockWhenFree(`${folder}/instance/${name}`, () => {});
  try {
    return await operation();
  } finally {
    await lock.release();
  }
}

/** A number that no other call gets. */
export async function nextNumber(folder: string, what: string): Promise<number> {
  const lock = await lockWhenFree(`${folder}/number/${what}`, () => {});
  try {
    const path = join(folder, `next-${what}`);
    const now = existsSync(path) ? Number(await readFile(path, 'utf8')) : 0;
    await writeWhole(path, String(now + 1));
    return now;
  } finally {
    await lock.release();
  }
}

/** A worker that was killed is a daemon that was restarted: nobody works on its instance any more. */
function forgetDead(instance: Instance): Instance | undefined {
  if (instance.busy === undefined || isRunning(instance.busy)) return instance;
  return instance.preparing ? undefined : { ...instance, busy: undefined };
}
