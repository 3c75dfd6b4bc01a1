import { setTimeout as delay } from 'node:timers/promises';
import { thisProcess } from '../../../../scripts/exec/background.ts';
import { messageOf } from '../../../../scripts/shared/errors.ts';
import { waitFor } from '../../../../scripts/shared/wait.ts';
import { Refusal } from '../failures.ts';
import type { Instance, State } from '../instance.ts';
import type { Call } from '../io.ts';
import { newJob } from '../jobs.ts';
import { isModern, named } from '../knobs.ts';
import { forget, update, withInstance } from '../store.ts';
import { type Seen, theDaemon } from './daemon.ts';
import { waitForSsh } from './ready.ts';

export interface PowerRequest {
  readonly names: readonly string[];
  readonly force?: boolean;
  readonly purge?: boolean;
  /** Stop: after this time, or not after all. */
  readonly delayMs?: number;
  readonly cancel?: boolean;
  readonly timeoutMs?: number | undefined;
}

/** How long a guest may take to shut down (vm_shutdown_timeout), and to reboot its kernel. */
const REBOOT_MS = 60_000;
/** How often a delayed shutdown looks whether it was called off. */
const LOOK_MS = 250;

/** Starts instances and waits for their SSH, all at once; what is up already stays as it is. */
export async function start(call: Call, { names, timeoutMs }: PowerRequest): Promise<void> {
  const errors: string[] = [];
  const starting = await eachOf(call, names, async (instance) => {
    const { name, now } = instance;
    if (now === 'Unknown') {
      errors.push(`Instance '${name}' is already running, but in an unknown state.\nTry to stop it first.`);
    } else if (now === 'Suspending') {
      errors.push(`Cannot start the instance '${name}' while suspending.`);
    } else if (now !== 'Running' && now !== 'Delayed Shutdown') {
      return boot(call, instance, timeoutMs);
    }
  });
  const all = [...errors, ...starting];
  if (all.length > 0) throw new Refusal(`The following errors occurred:\n${all.join('\n')}`);
}

/** Shuts instances down, or switches them off. */
export async function stop(call: Call, request: PowerRequest): Promise<void> {
  const { names, force = false, delayMs = 0, cancel = false } = request;
  if (cancel || delayMs > 0) return stopLater(call, names, cancel ? undefined : delayMs);
  const errors = await eachOf(call, names, (instance) =>
    shutDown(call, instance, force, 'Use --force to power it off.'),
  );
  if (errors.length > 0) throw new Refusal(errors.join('\n'));
}

/** Marks what runs as going to be shut down, and leaves that to a job of its own; undefined: calls it off. */
async function stopLater(call: Call, names: readonly string[], delayMs: number | undefined): Promise<void> {
  const [from, to] =
    delayMs === undefined
      ? (['Delayed Shutdown', 'Running'] as const)
      : (['Running', 'Delayed Shutdown'] as const);
  await eachOf(call, names, async ({ name, now }) => {
    if (now !== from) return;
    await update(call.folder, name, { state: to });
    if (delayMs === undefined) return;
    const job = { operation: 'stopWhenDue', request: { names: [name], delayMs } };
    await call.background(await newJob(call, job));
  });
}

/** The delayed part of a stop; it ends as soon as the instance is no longer marked. */
export async function stopWhenDue(call: Call, { names, delayMs = 0 }: PowerRequest): Promise<void> {
  const due = performance.now() + delayMs;
  for (;;) {
    const [instance] = (await theDaemon(call).instances()).filter(({ name }) => names.includes(name));
    if (instance?.now !== 'Delayed Shutdown') return;
    if (performance.now() >= due) break;
    await delay(LOOK_MS);
  }
  await stop(call, { names });
}

/** Reboots instances from inside, one command each, then waits for their SSH. */
export async function restart(call: Call, { names, timeoutMs }: PowerRequest): Promise<void> {
  const seen = await theDaemon(call).instances();
  const down = seen.find(
    ({ name, now }) => names.includes(name) && now !== 'Running' && now !== 'Delayed Shutdown',
  );
  if (down !== undefined) {
    const old = `Instance '${down.name}' is already running, but in an unknown state.\nTry to stop and start it instead.`;
    throw new Refusal(isModern(call.knobs) ? `Instance '${down.name}' is not running` : old);
  }
  const errors = await eachOf(call, names, (instance) =>
    working(call, instance, 'Restarting', async () => {
      const { backend } = theDaemon(call);
      await backend.stop(instance.name, false);
      await startAgain(call, instance, timeoutMs);
    }),
  );
  if (errors.length > 0) throw new Refusal(`The following errors occurred:\n${errors.join('\n')}`);
}

/** Suspends what runs. */
export async function suspend(call: Call, { names }: PowerRequest): Promise<void> {
  await eachOf(call, names, async (instance) => {
    if (instance.now !== 'Running') return;
    await working(call, instance, 'Suspending', async () => {
      await theDaemon(call).backend.suspend(instance.name);
      await update(call.folder, instance.name, { state: 'Suspended' });
    });
  });
}

/** Shuts instances down and marks them as deleted, or switches them off and removes them. */
export async function remove(call: Call, { names, purge = false }: PowerRequest): Promise<void> {
  const { backend } = theDaemon(call);
  const errors = await eachOf(call, names, async (instance) => {
    if (purge) {
      await withInstance(call.folder, instance.name, async () => {
        await backend.remove(instance.name);
        await forget(call.folder, instance.name);
      });
    } else if (!instance.deleted) {
      // A suspended one keeps its memory on disk.
      if (instance.now !== 'Suspended') {
        await shutDown(call, instance, false, 'Use --purge to forcefully delete it.');
      }
      await update(call.folder, instance.name, { deleted: true });
    }
  });
  if (errors.length > 0) throw new Refusal(errors.join('\n'));
}

async function shutDown(call: Call, instance: Seen, force: boolean, advice: string): Promise<void> {
  const { name, now } = instance;
  if (now === 'Stopped' || now === 'Deleted') return;
  if (!force) {
    if (now === 'Suspended') throw new Refusal(`Cannot shut down suspended instance ${name}.`, advice);
    if (now === 'Suspending')
      throw new Refusal(`Cannot shut down instance ${name} while suspending.`, advice);
    if (now === 'Starting' || now === 'Restarting') {
      throw new Refusal(`Cannot shut down instance ${name} while starting.`, advice);
    }
  }
  await theDaemon(call).backend.stop(name, force);
  await update(call.folder, name, { state: 'Stopped' });
}

async function boot(call: Call, instance: Instance, timeoutMs: number | undefined): Promise<void> {
  await working(call, instance, 'Starting', () => startAgain(call, instance, timeoutMs));
}

async function startAgain(call: Call, instance: Instance, timeoutMs: number | undefined): Promise<void> {
  const { backend } = theDaemon(call);
  const { name } = instance;
  const suspended = (await backend.power()).get(name) === 'frozen';
  if (!suspended && named(call.knobs.newIpOnRestart, name)) await backend.changeAddress(instance);
  await backend.start(name);
  await waitFor({
    what: `${name} to run`,
    timeoutMs: REBOOT_MS,
    look: async () =>
      (await backend.power()).get(name) === 'running'
        ? { done: true, value: undefined }
        : { done: false, why: 'it does not' },
  });
  const fresh = (await theDaemon(call).instances()).find((each) => each.name === name);
  await waitForSsh(call, fresh ?? instance, timeoutMs);
  await update(call.folder, name, { state: 'Running' });
}

/** Marks an instance as being worked on, so that others see the state it is passing through. */
async function working(
  call: Call,
  { name }: Instance,
  state: State,
  work: () => Promise<void>,
): Promise<void> {
  await withInstance(call.folder, name, async () => {
    await update(call.folder, name, { state, busy: thisProcess() });
    await work().finally(() => update(call.folder, name, { busy: undefined }));
  });
}

/** Does something to all instances of these names at once; a lone refusal is thrown on, several become lines. */
async function eachOf(
  call: Call,
  names: readonly string[],
  work: (instance: Seen) => Promise<unknown>,
): Promise<readonly string[]> {
  const chosen = (await theDaemon(call).instances()).filter(({ name }) => names.includes(name));
  const done = await Promise.allSettled(chosen.map(work));
  const reasons = done.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
  const [only] = reasons;
  if (reasons.length === 1 && only instanceof Refusal) throw only;
  return reasons.map((reason) =>
    reason instanceof Refusal ? reason.message.replace(/^The following.*\n/, '') : messageOf(reason),
  );
}
