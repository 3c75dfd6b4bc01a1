import { setTimeout as delay } from 'node:timers/promises';
import { thisProcess } from '../../../../scripts/exec/local.ts';
import { messageOf } from '../../../../scripts/shared/errors.ts';
import { waitFor } from '../../../../scripts/shared/wait.ts';
import { Refusal } from '../failures.ts';
import type { Instance, State } from '../instance.ts';
import type { Call } from '../io.ts';
import { isModern, named } from '../knobs.ts';
import { forget, update, withInstance } from '../store.ts';
import { type Seen, theDaemon } from './daemon.ts';
import { waitForSsh } from './ready.ts';

export interface PowerRequest {
  readonly names: readonly string[];
  readonly force?: boolean;
  readonly purge?: boolean;
  readonly timeoutMs?: number | undefined;
}

/** How long a guest may take to shut down (vm_shutdown_timeout), and to reboot its kernel. */
const REBOOT_MS = 60_000;
const SHUTDOWN_MS = 300_000;

/** Starts instances and waits for their SSH, all at once; what is up already stays as it is. */
export async function start(call: Call, { names, timeoutMs }: PowerRequest): Promise<void> {
  const errors: string[] = [];
  const starting = await eachOf(call, names, async (instance) => {
    const { name, now } = instance;
    if (now === 'Unknown') {
      errors.push(`Instance '${name}' is already running, but in an unknown state.\nTry to stop it first.`);
    } else if (now !== 'Running') {
      return boot(call, instance, timeoutMs);
    }
  });
  const all = [...errors, ...starting];
  if (all.length > 0) throw new Refusal(`The following errors occurred:\n${all.join('\n')}`);
}

/** Shuts instances down, or switches them off. */
export async function stop(call: Call, request: PowerRequest): Promise<void> {
  const { names, force = false } = request;
  const errors = await eachOf(call, names, (instance) =>
    shutDown(call, instance, force, 'Use --force to power it off.'),
  );
  if (errors.length > 0) throw new Refusal(errors.join('\n'));
}

/** Reboots instances from inside, one command each, then waits for their SSH. */
export async function restart(call: Call, { names, timeoutMs }: PowerRequest): Promise<void> {
  const seen = await theDaemon(call).instances();
  const down = seen.find(({ name, now }) => names.includes(name) && now !== 'Running');
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
      await shutDown(call, instance, false, 'Use --purge to forcefully delete it.');
      await update(call.folder, instance.name, { deleted: true });
    }
  });
  if (errors.length > 0) throw new Refusal(errors.join('\n'));
}

async function shutDown(call: Call, instance: Seen, force: boolean, advice: string): Promise<void> {
  const { name, now } = instance;
  if (now === 'Stopped' || now === 'Deleted') return;
  if (!force) {
    if (now === 'Unknown' || now === 'Restarting') {
      await delay(call.knobs.giveUpMs ?? SHUTDOWN_MS);
      throw new Refusal(
        `The QEMU process did not finish within ${SHUTDOWN_MS} milliseconds after being shutdown`,
      );
    }
    if (now === 'Starting') {
      throw new Refusal(`Cannot shut down instance ${name} while starting.`, advice);
    }
  }
  await theDaemon(call).backend.stop(name, force);
  await update(call.folder, name, { state: 'Stopped' });
}

async function boot(call: Call, instance: Instance, timeoutMs: number | undefined): Promise<void> {
  await working(call, instance, 'Unknown', () => startAgain(call, instance, timeoutMs));
}

async function startAgain(call: Call, instance: Instance, timeoutMs: number | undefined): Promise<void> {
  const { backend } = theDaemon(call);
  const { name } = instance;
  if (named(call.knobs.newIpOnRestart, name)) await backend.changeAddress(instance);
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
