import { access, constants, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { HostFacts, KernelFact } from '../plan/host-facts.ts';

/** What the running kernel says of itself, below `root`. Loads no module. Throws where /proc is not Linux'. */
export async function readKernel(root = '/'): Promise<KernelFact> {
  const release = (await readFile(join(root, 'proc/sys/kernel/osrelease'), 'utf8')).trim();
  const [filesystems, active, config, modules] = await Promise.all([
    readFile(join(root, 'proc/filesystems'), 'utf8'),
    readdir(join(root, 'sys/module')).catch(absent([])),
    readConfig(root, release),
    readModules(join(root, 'lib/modules', release)),
  ]);
  return {
    release,
    // "nodev	overlay": what needs no device has a word before its name.
    filesystems: filesystems.split('\n').flatMap((line) => line.trim().split(/\s+/).slice(-1)),
    active: active.map(moduleName),
    ...(config === undefined ? {} : { config }),
    ...(modules === undefined ? {} : { modules }),
  };
}

/** The limits of inotify, and whether this process may raise the first of them. Throws where there are none. */
export async function readInotify(root = '/'): Promise<NonNullable<HostFacts['inotify']>> {
  const folder = join(root, 'proc/sys/fs/inotify');
  const read = async (name: string) => Number(await readFile(join(folder, name), 'utf8'));
  const instances = 'max_user_instances';
  const writable = await access(join(folder, instances), constants.W_OK).then(
    () => true,
    () => false,
  );
  return { instances: await read(instances), watches: await read('max_user_watches'), writable };
}

// The kernel's own copy first; the other two are where distributions put it.
async function readConfig(root: string, release: string): Promise<KernelFact['config']> {
  const packed = await readFile(join(root, 'proc/config.gz')).catch(absent(undefined));
  if (packed !== undefined) return parseConfig((await promisify(gunzip)(packed)).toString('utf8'));
  for (const path of [`boot/config-${release}`, `lib/modules/${release}/config`]) {
    const text = await readFile(join(root, path), 'utf8').catch(absent(undefined));
    if (text !== undefined) return parseConfig(text);
  }
  return undefined;
}

function parseConfig(text: string): ReadonlyMap<string, 'y' | 'm'> {
  const lines = [...text.matchAll(/^CONFIG_(\w+)=([ym])$/gm)];
  return new Map(lines.map(([, option = '', value]) => [option, value === 'm' ? 'm' : 'y']));
}

// modules.dep has a line "kernel/fs/overlayfs/overlay.ko.xz: ..." for each file, modules.builtin one without a colon.
async function readModules(folder: string): Promise<readonly string[] | undefined> {
  const read = (name: string) => readFile(join(folder, name), 'utf8').catch(absent(undefined));
  const lists = [await read('modules.dep'), await read('modules.builtin')].filter(
    (text) => text !== undefined,
  );
  if (lists.length === 0) return undefined;
  return lists.flatMap((text) =>
    text.split('\n').flatMap((line) => {
      const path = line.split(':')[0] ?? '';
      return path === '' ? [] : [moduleName(basename(path).replace(/\.ko(\.\w+)?$/, ''))];
    }),
  );
}

/** The kernel takes both for the same. */
function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

function absent<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return value;
    throw error;
  };
}
