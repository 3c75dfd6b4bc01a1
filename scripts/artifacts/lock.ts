import { createHash } from 'node:crypto';
import { readdir, readlink } from 'node:fs/promises';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Executor } from '../exec/executor.ts';
import { Interrupted } from '../shared/errors.ts';
import { ifMissing } from '../shared/files.ts';
import { POLL_MS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

/** Above the registered services that are in use, below the ports that systems give out by themselves. */
const FIRST_PORT = 36_000;
const PORTS = 12_000;

/** A lock that is held. */
export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes a lock that ends with the process that holds it, however that ends: the name of an abstract Unix socket
 * (unix(7)), which the kernel gives to one process at a time and takes back by itself. So there is no lock file that a
 * killed labup could leave behind, and no guess whether its owner still lives. Only Linux has such names: elsewhere it is
 * a port of the loopback, which is as good unless two names, or another program, come to the same one; then one waits for
 * the other. Undefined where another holds it.
 */
export async function tryLock(name: string, platform = process.platform): Promise<Lock | undefined> {
  const server = createServer((socket) => socket.destroy());
  const hash = createHash('sha256').update(name);
  const held = await listen(
    server,
    platform === 'linux'
      ? { path: `\0k8s-bgp-lab/${hash.digest('hex')}` }
      : { host: '127.0.0.1', port: FIRST_PORT + (hash.digest().readUInt32BE() % PORTS) },
  );
  if (!held) return undefined;
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Takes a lock, waiting for the process that holds it. `onWait` is called once, when there is something to wait for. */
export async function lockWhenFree(name: string, onWait: () => void, signal?: AbortSignal): Promise<Lock> {
  for (let told = false; ; told = true) {
    if (signal?.aborted) throw new Interrupted();
    const lock = await tryLock(name);
    if (lock !== undefined) return lock;
    if (!told) onWait();
    await delay(POLL_MS, undefined, { signal }).catch(() => {
      throw new Interrupted();
    });
  }
}

function listen(server: Server, where: ListenOptions): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(where, () => resolve(true));
  });
}

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
export async function removeLeftovers(host: Executor, cache: string): Promise<string[]> {
  const names = await readdir(cache).catch(ifMissing([]));
  const removed: string[] = [];
  for (const name of names.filter((entry) => entry.startsWith(PREFIX))) {
    const artifact = name.slice(PREFIX.length).replace(/-\d+$/, '');
    const lock = await tryLock(buildLock(cache, artifact));
    if (lock === undefined) continue;
    try {
      await removeBuild(host, join(cache, name));
      removed.push(join(cache, name));
    } finally {
      await lock.release();
    }
  }
  return removed;
}

/**
 * Removes a build's folder after ending what still works in it: an interrupted mmdebstrap cleans up for a while. By a
 * program, that Ctrl-C does not end: Node's own rm would fill the queue that all of this process' files are read through.
 */
export async function removeBuild(host: Executor, folder: string): Promise<void> {
  await endProcessesIn(folder);
  await host.run(['rm', '-rf', folder], { signal: new AbortController().signal });
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
  const processes = await readdir('/proc').catch(ifMissing([]));
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
