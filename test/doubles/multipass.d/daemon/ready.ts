import { setTimeout as delay } from 'node:timers/promises';
import { LabError, messageOf } from '../../../../scripts/shared/errors.ts';
import { waitFor } from '../../../../scripts/shared/wait.ts';
import type { Connection } from '../backends/backend.ts';
import { Refusal } from '../failures.ts';
import type { Instance } from '../instance.ts';
import type { Call } from '../io.ts';
import { named } from '../knobs.ts';
import { update } from '../store.ts';
import { backendOf } from './daemon.ts';

/** mp::default_timeout, for SSH and again for cloud-init. */
const STAGE_MS = 300_000;
const POLL_MS = 500;

/** Waits until a guest answers on SSH. In vain: its state is Unknown from then on, and the daemon says so. */
export async function waitForSsh(call: Call, instance: Instance, timeoutMs = STAGE_MS): Promise<void> {
  const { name } = instance;
  const never = named(call.knobs.sshTimeout, name);
  const giveUp = async () => {
    await update(call.folder, name, { state: 'Unknown' });
    return new Refusal(`The following errors occurred:\n${name}: timed out waiting for response`);
  };
  if (never) {
    await delay(call.knobs.giveUpMs ?? timeoutMs);
    throw await giveUp();
  }
  await waitFor({
    what: `${name} to answer on SSH`,
    timeoutMs,
    pollMs: POLL_MS,
    look: async () => {
      (await connectTo(call, instance)).close();
      return { done: true, value: undefined };
    },
  }).catch(async (error: unknown) => {
    note(call, error);
    throw await giveUp();
  });
}

/** Waits until cloud-init has ended, with whatever verdict. In vain: the instance stays as it is. */
export async function waitForInitialization(
  call: Call,
  instance: Instance,
  timeoutMs = STAGE_MS,
): Promise<void> {
  const late = new Refusal(
    'The following errors occurred:\ntimed out waiting for initialization to complete',
  );
  if (named(call.knobs.cloudInitTimeout, instance.name)) {
    await delay(call.knobs.giveUpMs ?? timeoutMs);
    throw late;
  }
  await waitFor({
    what: `cloud-init on ${instance.name} to end`,
    timeoutMs,
    pollMs: POLL_MS,
    look: async () => {
      const connection = await connectTo(call, instance);
      try {
        const done = await backendOf(call).initialized(connection);
        return done ? { done: true, value: undefined } : { done: false, why: 'it goes on' };
      } finally {
        connection.close();
      }
    },
  }).catch((error: unknown) => {
    note(call, error);
    throw late;
  });
}

/** The real reason, which the daemon's refusal does not have, goes to the log of its job. */
function note(call: Call, error: unknown): void {
  const details = error instanceof LabError ? error.details : [];
  call.err(`${[messageOf(error), ...details].join('\n')}\n`);
}

/** The daemon's own connection to a guest. Throws where it does not answer. */
export async function connectTo(call: Call, instance: Instance): Promise<Connection> {
  const backend = backendOf(call);
  const address = await backend.address(instance);
  if (address === undefined) throw new Error(`${instance.name} has no address yet`);
  return backend.connect(instance, address);
}

/** The client's connection, which knobs can break. Throws with libssh's words. */
export async function connectFromClient(call: Call, instance: Instance): Promise<Connection> {
  const broken = named(call.knobs.execFailure, instance.name);
  if (broken) throw new Error("ssh connection failed: 'Failed to connect: No route to host'");
  return connectTo(call, instance).catch((error: unknown) => {
    throw new Error(`ssh connection failed: '${messageOf(error)}'`);
  });
}
