import { createHash } from 'node:crypto';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Interrupted } from '../shared/errors.ts';
import { POLL_MS } from '../shared/timeouts.ts';

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
