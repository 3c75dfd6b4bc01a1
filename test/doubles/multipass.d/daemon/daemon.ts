import { setTimeout as delay } from 'node:timers/promises';
import type { Backend } from '../backends/backend.ts';
import { Refusal } from '../failures.ts';
import type { Instance, State } from '../instance.ts';
import type { Call } from '../io.ts';
import { loadAll } from '../store.ts';
import { observed } from './observe.ts';

const NOT_AUTHENTICATED =
  'The user is not authenticated with the Multipass service.\n\n' +
  "Please authenticate before proceeding (e.g. via 'multipass authenticate'). Note that you first need an authenticated " +
  "user to set and provide you with a trusted passphrase (e.g. via 'multipass set local.passphrase').";

/** An instance with its state of now. */
export interface Seen extends Instance {
  readonly now: State;
}

/** The daemon as a call reaches it: it refuses, is slow, or answers. */
export interface Daemon {
  readonly backend: Backend;
  instances(): Promise<readonly Seen[]>;
}

/** Reaches the daemon; each call of it is one request to the real one. Throws its refusal. */
export async function reachDaemon(call: Call): Promise<Daemon> {
  const { knobs } = call;
  if (knobs.daemon === 'down') throw new Refusal('cannot connect to the multipass socket');
  if (knobs.daemon === 'denied') throw new Refusal('multipass socket access denied');
  if (knobs.daemonDelayMs > 0) await delay(knobs.daemonDelayMs);
  if (knobs.daemon === 'unauthenticated') throw new Refusal(NOT_AUTHENTICATED);
  return theDaemon(call);
}

/** The daemon's own view, for its jobs. */
export function theDaemon(call: Call): Daemon {
  const backend = backendOf(call);
  return {
    backend,
    async instances() {
      const [all, power] = await Promise.all([loadAll(call.folder), backend.power()]);
      return all.map((instance) => ({
        ...instance,
        now: observed(instance, power.get(instance.name), call.knobs),
      }));
    },
  };
}

/** What the knobs say machines come from. */
export function backendOf(call: Call): Backend {
  return lazily(async () => {
    if (call.knobs.backend === 'sandbox')
      return (await import('../backends/sandbox.ts')).sandboxBackend(call);
    return (await import('../backends/containers.ts')).containersBackend(call);
  });
}

/** A call of the double is short: what a backend is made of is loaded when one of its methods, all asynchronous, is called. */
function lazily(load: () => Promise<Backend>): Backend {
  return new Proxy({} as Backend, {
    get:
      (_, method: keyof Backend) =>
      async (...values: readonly never[]) => {
        const backend = await load();
        return (backend[method] as (...values: readonly never[]) => unknown)(...values);
      },
  });
}
