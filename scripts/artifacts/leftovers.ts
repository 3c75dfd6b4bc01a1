import { readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from '../shared/wait.ts';
import { tryLock } from './lock.ts';

const PREFIX = '.build-';

/** The folder that a build works in: beside its artifact, so that finishing is one rename. */
export function buildFolder(cache: string, artifact: string): string {
  return join(cache, `${PREFIX}${artifact}-${process.pid}`);
}

/** The name of the lock that a build holds from its first byte to its last. */
export function buildLock(cache: string, artifact: string): string {
  return `${cache}/${artifact}`;
}

/**
 * Removes what killed builds left: folders whose lock nobody holds, so that the process that made them is gone. A
 * labup killed with SIGKILL leaves its children running (a compiler, dpkg); they are ended first, known by working in that folder.
 * Returns the folders removed.
 */
export async function removeLeftovers(cache: string): Promise<string[]> {
  const names = await readdir(cache).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const removed: string[] = [];
  for (const name of names.filter((entry) => entry.startsWith(PREFIX))) {
    const artifact = name.slice(PREFIX.length).replace(/-\d+$/, '');
    const lock = await tryLock(buildLock(cache, artifact));
    if (lock === undefined) continue;
    try {
      await removeBuild(join(cache, name));
      removed.push(join(cache, name));
    } finally {
      await lock.release();
    }
  }
  return removed;
}

/** Removes a build's folder after ending what still works in it: an interrupted mmdebstrap cleans up for a while. */
export async function removeBuild(folder: string): Promise<void> {
  await endProcessesIn(folder);
  await rm(folder, { recursive: true, force: true });
}

async function endProcessesIn(folder: string): Promise<void> {
  await waitFor({
    what: `the processes of a killed build to end (${folder})`,
    timeoutMs: 20_000,
    look: async () => {
      const pids = await processesIn(folder);
      for (const pid of pids) endProcess(pid);
      return pids.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: `${pids.length} still run` };
    },
  });
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Processes whose working directory or root lies in the folder. */
async function processesIn(folder: string): Promise<number[]> {
  // Builds run on Linux alone; what is there elsewhere was downloaded, by a process that is gone.
  const processes = await readdir('/proc').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const pids = processes.filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      // A process may end between the listing and the look.
      const links = ['cwd', 'root'].map((link) => readlink(`/proc/${pid}/${link}`).catch(() => ''));
      const places = await Promise.all(links);
      return places.some((place) => place === folder || place.startsWith(`${folder}/`)) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}
