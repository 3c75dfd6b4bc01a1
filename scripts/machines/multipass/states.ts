import { LabFailure, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { kindOf } from './failure.ts';
import { askGuest, type GuestFacts } from './guest.ts';
import { listInstances, type MultipassHost } from './host.ts';
import { waitForState } from './patience.ts';
import type { Entry } from './registry.ts';

/**
 * States that end by themselves. `Unknown` is what Multipass says of every machine that boots, from its start until its
 * SSH answers.
 */
const PASSING = ['Starting', 'Unknown', 'Restarting', 'Suspending', 'Delayed Shutdown'];

/**
 * Waits while an instance is on its way from one state to another, as long as a first boot may take; returns where it came
 * to, undefined where it is gone. One that is still Unknown then hangs. Throws LabFailure where it is still in another
 * such state.
 */
export async function settled(host: MultipassHost, name: string, emit: Emit): Promise<string | undefined> {
  let state: string | undefined;
  return waitForState<string | undefined>(host, {
    what: `${name} to come to rest`,
    timeoutMs: await bootMs(host, name),
    next: `multipass info ${name}`,
    emit,
    look: async () => {
      state = (await listInstances(host, emit)).get(name)?.state;
      return state !== undefined && PASSING.includes(state)
        ? { done: false, why: progressOf(state) }
        : { done: true, value: state };
    },
  }).catch((error: unknown) => {
    if (state === 'Unknown' && error instanceof LabFailure) return state;
    throw error;
  });
}

/** How long a boot may take, in milliseconds; longer where a launch is noted that has not come back. */
async function bootMs({ patience, registry }: MultipassHost, name: string): Promise<number> {
  const entry = await registry.read(name);
  if (entry === undefined || entry.launched) return patience.firstBoot;
  return Math.max(patience.firstBoot, Date.parse(entry.launchedAt) + patience.launch - Date.now());
}

/** What a state that `list` shows says of a machine on its way. */
export function progressOf(state: string | undefined): string {
  if (state === undefined) return 'it is being prepared';
  if (state === 'Unknown') return 'it boots, and its SSH does not answer yet (state Unknown)';
  return `it is ${state.toLowerCase()}`;
}

/**
 * Makes an instance of ours run, whatever state it is in but Deleted; returns whether it had to. Throws LabFailure naming
 * it where it cannot be done.
 */
export async function ensureRunning(
  host: MultipassHost,
  name: string,
  state: string,
  emit: Emit,
): Promise<boolean> {
  const now = PASSING.includes(state) ? await settled(host, name, emit) : state;
  switch (now) {
    case 'Running':
      return false;
    case 'Stopped':
    case 'Suspended':
      await start(host, name, emit);
      return true;
    case 'Unknown':
      // The daemon refuses to start such a one.
      emit({
        type: 'note',
        text: `powering off ${name}, whose SSH did not answer as long as a first boot takes`,
      });
      await host.exclusive(() => host.client.powerOff(name));
      await start(host, name, emit);
      return true;
    case 'Unavailable':
      throw new UserError(`${name} is in a Multipass zone that is switched off.`, {
        next: 'multipass zones; multipass enable-zones --all',
      });
    default:
      throw new LabFailure(`${name} is in state "${now ?? 'gone'}", which labup cannot start it from.`, {
        next: `multipass info ${name}; npx labup --yes`,
      });
  }
}

/** Starts a machine; where the daemon went away meanwhile, or took too long, twice if need be. */
async function start(host: MultipassHost, name: string, emit: Emit): Promise<void> {
  for (const isLast of [false, true]) {
    emit({ type: 'note', text: `starting ${name}${isLast ? ' once more' : ''}` });
    try {
      await host.client.start(name);
      return;
    } catch (error) {
      const kind = kindOf(error);
      if (kind !== 'timeout' && kind !== 'no-ssh' && kind !== 'daemon-down' && kind !== 'busy') throw error;
      // The daemon may have gone on without the client: what counts is what is there.
      const state = await settled(host, name, emit);
      if (state === 'Running') return;
      if (isLast || (state !== 'Stopped' && state !== 'Suspended')) throw error;
    }
  }
}

/** Waits a moment for a machine that runs to answer, which Running promises. Throws LabFailure where it does not. */
export async function answering(host: MultipassHost, name: string, emit: Emit): Promise<GuestFacts> {
  return waitForState(host, {
    what: `${name}, which runs, to answer`,
    timeoutMs: host.patience.guest,
    next: `multipass stop --force ${name}; npx labup --yes   (starts it again)`,
    emit,
    look: async () => ({ done: true, value: await askGuest(host.client, name) }),
  });
}

/**
 * Waits until cloud-init is done with a running machine, or reports errors before that; returns what the guest says then.
 * That `launch` ends well says only that cloud-init came to its end, not that it succeeded
 * (https://github.com/canonical/multipass/issues/5060).
 */
export async function provisioned(host: MultipassHost, name: string, emit: Emit): Promise<GuestFacts> {
  return waitForState(host, {
    what: `cloud-init on ${name}`,
    timeoutMs: host.patience.firstBoot,
    next: `multipass exec -n ${name} -- cloud-init status --long`,
    emit,
    look: async () => {
      const facts = await askGuest(host.client, name);
      const { finished, errors } = facts.cloudInit;
      return finished || errors.length > 0
        ? { done: true, value: facts }
        : { done: false, why: 'it is at work' };
    },
  });
}

/**
 * Throws LabFailure naming the machine where its cloud-init had errors. With an entry, that of a machine in the making,
 * this is noted, and the next labup makes it anew; one that had been a working machine is not thrown away.
 */
export async function requireNoErrors(
  { registry }: MultipassHost,
  name: string,
  { cloudInit }: GuestFacts,
  entry: Omit<Entry, 'schemaVersion'> | undefined,
): Promise<void> {
  if (cloudInit.errors.length === 0) return;
  if (entry !== undefined) await registry.note(name, { ...entry, failed: true });
  const then =
    entry === undefined ? 'npx labdown --yes && npx labup --yes' : 'npx labup --yes   (makes it anew)';
  throw new LabFailure(`cloud-init failed on ${name}.`, {
    details: cloudInit.errors,
    next: `multipass exec -n ${name} -- sudo tail -n 50 /var/log/cloud-init-output.log; then ${then}`,
  });
}
