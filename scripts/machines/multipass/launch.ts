import { Interrupted, LabFailure, messageOf } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { LaunchOptions } from './client.ts';
import { kindOf } from './failure.ts';
import { listInstances, type MultipassHost } from './host.ts';
import { foreignError } from './ownership.ts';
import { waitForState } from './patience.ts';
import { purgeInstances } from './purge.ts';
import type { Entry } from './registry.ts';
import { ensureRunning, progressOf, provisioned, requireNoErrors, settled } from './states.ts';

/** A machine to be launched. */
export interface LaunchJob {
  readonly lab: string;
  readonly options: LaunchOptions;
  readonly recipe: string;
  /** Whether a labup that was killed may have left the daemon at work on it. */
  readonly begunBefore: boolean;
}

/** After how long a launch that comes no further is told of again. */
const SAY_AGAIN_MS = 300_000;

/** What became of a launch: our instance is there, one is there that an earlier launch may have made, or none is. */
type Outcome = 'launched' | 'exists' | 'retry';

/**
 * Launches a machine and waits until cloud-init is done with it. A launch that failed or took too long says little about
 * the instance, which the daemon goes on with: so it is looked at, kept where it runs, else removed by its exact name
 * and launched once more. Throws MultipassRefusal where the user must act, LabFailure naming the machine otherwise.
 */
export async function launchMachine(host: MultipassHost, job: LaunchJob, emit: Emit): Promise<void> {
  const { name } = job.options;
  let outcome: Outcome = 'retry';
  let lastError: unknown;
  for (let attempt = 1; attempt <= 2 && outcome === 'retry'; attempt++) {
    await host.registry.note(name, entryOf(job, false));
    emit({ type: 'note', text: attempt === 1 ? `launching ${name}` : `launching ${name} once more` });
    try {
      outcome = await launchPatiently(host, job, attempt, emit);
    } catch (error) {
      lastError = error;
      outcome = await recover(host, job, error, attempt, emit);
    }
  }
  if (outcome === 'retry') throw notUp(name, lastError);
  await host.registry.note(name, entryOf(job, true));
  await requireOurUserData(host, job, outcome, emit);
}

function entryOf({ lab, recipe }: LaunchJob, launched: boolean): Omit<Entry, 'schemaVersion'> {
  return { lab, recipe, launched, launchedAt: new Date().toISOString() };
}

/** Launches; where the daemon is still at work on an earlier launch of that name, waits for what becomes of that. */
async function launchPatiently(
  host: MultipassHost,
  job: LaunchJob,
  attempt: number,
  emit: Emit,
): Promise<Outcome> {
  const { name } = job.options;
  let earlier = job.begunBefore || attempt > 1;
  const ended = await waitForState<Outcome | { readonly failure: unknown }>(host, {
    what: `an earlier launch of ${name}, which the daemon is at`,
    timeoutMs: host.patience.launch,
    next: `multipass list; if ${name} never comes: sudo snap restart multipass (on Linux), then npx labup --yes`,
    emit,
    look: async () => {
      try {
        await launchWhenReachable(host, job, emit);
        return { done: true, value: 'launched' };
      } catch (error) {
        const kind = kindOf(error);
        if (kind === 'being-prepared') {
          earlier = true;
          return { done: false, why: 'it is being prepared' };
        }
        if (kind === 'name-taken' && earlier) return { done: true, value: 'exists' };
        return { done: true, value: { failure: error } };
      }
    },
  });
  if (typeof ended === 'object') throw ended.failure;
  if (ended === 'exists') return lookAt(host, job, undefined, attempt, emit);
  return ended;
}

async function launchWhenReachable(host: MultipassHost, { options }: LaunchJob, emit: Emit): Promise<void> {
  // Refused before anything is made, so it may be asked for again.
  let unreachable: unknown;
  const failure = await waitForState<unknown>(host, {
    what: `the image server for ${options.name}`,
    timeoutMs: host.patience.imageServers,
    emit,
    look: async () => {
      try {
        await watched(host, options.name, emit, host.client.launch(options));
        return { done: true, value: undefined };
      } catch (error) {
        if (kindOf(error) !== 'remote-unreachable') return { done: true, value: error };
        unreachable = error;
        return { done: false, why: messageOf(error) };
      }
    },
  }).catch((error: unknown) => {
    throw error instanceof Interrupted ? error : (unreachable ?? error);
  });
  if (failure !== undefined) throw failure;
}

/** Says what `list` says of an instance while its launch is under way, which may take half an hour. */
async function watched(host: MultipassHost, name: string, emit: Emit, launch: Promise<void>): Promise<void> {
  const over = new AbortController();
  const began = performance.now();
  const watching = waitForState(host, {
    what: `${name} to run`,
    timeoutMs: host.patience.launch,
    signal: over.signal,
    emit,
    look: async () => {
      const state = (await host.client.list()).get(name)?.state;
      if (state === 'Running') return { done: true, value: undefined };
      const minutes = Math.floor((performance.now() - began) / SAY_AGAIN_MS) * (SAY_AGAIN_MS / 60_000);
      return { done: false, why: `${progressOf(state)}${minutes === 0 ? '' : `, after ${minutes} min`}` };
    },
  }).then(
    () => emit({ type: 'note', text: `${name} runs, and cloud-init is at work` }),
    // Only the launch itself decides what became of it.
    () => undefined,
  );
  try {
    await launch;
  } finally {
    over.abort();
    await watching;
  }
}

async function recover(
  host: MultipassHost,
  job: LaunchJob,
  error: unknown,
  attempt: number,
  emit: Emit,
): Promise<Outcome> {
  const { name } = job.options;
  const kind = kindOf(error);
  // Interrupted, for one: the daemon goes on, so the note stays.
  if (kind === undefined) throw error;
  if (kind === 'timeout' || kind === 'daemon-down' || kind === 'no-ssh') {
    emit({ type: 'note', text: `${messageOf(error)} Looking at what is there.` });
    return lookAt(host, job, error, attempt, emit);
  }
  const state = (await listInstances(host, emit)).get(name)?.state;
  if (kind !== 'name-taken' && state !== undefined) return lookAt(host, job, error, attempt, emit);
  // What else fails, fails before the start, and the daemon has taken back what it made.
  await host.registry.forget(name);
  if (kind !== 'name-taken') throw error;
  const why = 'it appeared while labup was at work';
  throw foreignError(job.lab, [{ name, state: state ?? 'gone', why }]);
}

/**
 * Keeps an instance that runs or can be started, removes one that hangs; `attempt` is the one that it comes from. One that
 * boots is waited for, unless the daemon has just done that to the end.
 */
async function lookAt(
  host: MultipassHost,
  job: LaunchJob,
  error: unknown,
  attempt: number,
  emit: Emit,
): Promise<Outcome> {
  const { name } = job.options;
  const state =
    kindOf(error) === 'no-ssh'
      ? (await listInstances(host, emit)).get(name)?.state
      : await settled(host, name, emit);
  if (state === undefined) return 'retry';
  if (state === 'Running' || state === 'Stopped' || state === 'Suspended') {
    await ensureRunning(host, name, state, emit);
    return 'exists';
  }
  // SSH never came up in it. Left as it is after the second time, for whoever looks for the cause.
  if (attempt > 1) {
    await host.registry.note(name, { ...entryOf(job, true), failed: true });
    throw notUp(name, error, state);
  }
  emit({ type: 'note', text: `removing ${name}, which is ${state.toLowerCase()} long after its launch` });
  await purgeInstances(host, [name], emit);
  return 'retry';
}

/**
 * cloud-init's verdict, and that our user-data arrived at all: a client whose standard input is empty launches a plain
 * machine and reports success.
 */
async function requireOurUserData(
  host: MultipassHost,
  job: LaunchJob,
  outcome: Outcome,
  emit: Emit,
): Promise<void> {
  const { lab, options } = job;
  const { name } = options;
  const facts = await provisioned(host, name, emit);
  await requireNoErrors(host, name, facts, entryOf(job, true));
  if (facts.owner === lab) return;
  if (outcome !== 'launched' || facts.owner !== undefined) {
    await host.registry.forget(name);
    const why = facts.owner === undefined ? 'it has no /etc/lab/owner' : `it belongs to lab "${facts.owner}"`;
    throw foreignError(lab, [{ name, state: 'Running', why }]);
  }
  // The daemon has just said that it made this one for us.
  await purgeInstances(host, [name], emit);
  await host.registry.forget(name);
  throw new LabFailure(`${name} came up without the lab's user-data, so it was removed again.`, {
    details: ['the multipass client got nothing on its standard input, which AppArmor can cause for a snap'],
    next: `check with: echo 'hostname: probe' | multipass launch --name probe --cloud-init - && multipass exec -n probe -- hostname`,
  });
}

function notUp(name: string, error: unknown, state = 'gone'): LabFailure {
  return new LabFailure(`${name} did not come up; it was launched twice.`, {
    details: [
      `its state: ${state.toLowerCase()}`,
      messageOf(error),
      'too little free memory looks like this, too',
    ],
    next: `multipass info ${name}; then npx labup --yes   (makes it anew)`,
    cause: error,
  });
}

/** The zone that the lab's machines are in, so that the next one shares their network; undefined where there is none yet. */
export async function zoneOf(
  host: MultipassHost,
  machines: readonly string[],
  emit: Emit,
): Promise<string | undefined> {
  const all = await listInstances(host, emit);
  return machines.map((name) => all.get(name)?.zone).find((zone) => zone !== undefined);
}
