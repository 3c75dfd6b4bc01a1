import { LabFailure, messageOf, UserError } from '../../shared/errors.ts';
import { kindOf, type LaunchOptions } from './client.ts';
import { askGuest, type GuestFacts } from './guest.ts';
import { type Entry, listInstances, type MultipassHost, waitForState, whilePassing } from './host.ts';
import { foreignError, whoseIt } from './ownership.ts';
import { purgeInstances } from './remove.ts';

/** A machine to be launched. */
export interface LaunchJob {
  readonly lab: string;
  readonly options: LaunchOptions;
  readonly recipe: string;
  /** Whether a labup that was killed may have left the daemon busy with it. */
  readonly begunBefore: boolean;
}

/**
 * States that end by themselves. `Unknown` is what Multipass says of every machine that boots, from its start until its
 * SSH answers.
 */
const PASSING: readonly (string | undefined)[] = [
  'Starting',
  'Unknown',
  'Restarting',
  'Suspending',
  'Delayed Shutdown',
];
/** States that `start` makes a running machine of. */
const DOWN: readonly (string | undefined)[] = ['Stopped', 'Suspended'];

/** After how long a launch that comes no further is told of again. */
const SAY_AGAIN_MS = 300_000;

/**
 * Launches a machine and waits until cloud-init is done with it. A launch that failed or took too long says little about
 * the instance, which the daemon goes on with: so it is looked at, kept where it runs, else removed by its exact name
 * and launched once more. Throws UserError where the user must act, LabFailure naming the machine otherwise.
 */
export async function launchMachine(host: MultipassHost, job: LaunchJob): Promise<void> {
  const { lab, recipe, options } = job;
  const { name } = options;
  const { registry } = host;
  const entry = (launched: boolean): Entry => ({
    lab,
    recipe,
    launched,
    launchedAt: new Date().toISOString(),
  });
  let isEarlier = job.begunBefore;
  let isLaunched = false;
  for (let attempt = 1; !isLaunched; attempt++) {
    await registry.write(name, entry(false));
    host.emit({ type: 'note', text: attempt === 1 ? `launching ${name}` : `launching ${name} once more` });
    const failure = await launchPatiently(host, options, () => {
      isEarlier = true;
    }).catch((error: unknown) => error);
    isLaunched = failure === undefined;
    if (isLaunched) break;
    const kind = kindOf(failure);
    // Interrupted, for one: the daemon goes on, so the note stays.
    if (kind === undefined) throw failure;
    const listed = async () => (await listInstances(host)).get(name)?.state;
    if (kind === 'timeout' || kind === 'daemon-down' || kind === 'no-ssh') {
      host.emit({ type: 'note', text: `${messageOf(failure)} Looking at what is there.` });
    } else if (kind !== 'name-taken' || !isEarlier) {
      const state = await listed();
      if (kind === 'name-taken' || state === undefined) {
        // What else fails, fails before the start, and the daemon has taken back what it made.
        await registry.forget(name);
        if (kind !== 'name-taken') throw failure;
        const why = 'it appeared while labup ran';
        throw foreignError(lab, [{ name, state: state ?? 'gone', why }]);
      }
    }
    // One that boots is waited for, unless the daemon has just done that to the end.
    const state = kind === 'no-ssh' ? await listed() : await settled(host, name);
    if (state === 'Running' || DOWN.includes(state)) {
      await ensureRunning(host, name, state ?? '');
      break;
    }
    if (attempt > 1) {
      // SSH never came up in it. Left as it is, for whoever looks for the cause.
      if (state !== undefined) await registry.write(name, { ...entry(true), failed: true });
      throw notUp(name, failure, state);
    }
    if (state !== undefined) {
      host.emit({
        type: 'note',
        text: `removing ${name}, which is ${state.toLowerCase()} long after its launch`,
      });
      await purgeInstances(host, [name]);
    }
    isEarlier = true;
  }
  await registry.write(name, entry(true));
  const facts = await provisioned(host, name);
  await requireNoErrors(host, name, facts, entry(true));
  if (facts.owner === lab) return;
  if (!isLaunched || facts.owner !== undefined) {
    await registry.forget(name);
    throw foreignError(lab, [{ name, state: 'Running', why: whoseIt(facts) }]);
  }
  // A client whose standard input is empty launches a plain machine and reports success: the daemon made this one for us.
  await purgeInstances(host, [name]);
  await registry.forget(name);
  throw new LabFailure(`${name} came up without the lab's user-data, so it was removed again.`, {
    details: ['the multipass client got nothing on its standard input, which AppArmor can cause for a snap'],
    next: `check with: echo 'hostname: probe' | multipass launch --name probe --cloud-init - && multipass exec -n probe -- hostname`,
  });
}

/**
 * Launches; refused before anything is made, it is asked for again, and where the daemon is still busy with an earlier
 * launch of that name, waited for what becomes of that.
 */
async function launchPatiently(
  host: MultipassHost,
  options: LaunchOptions,
  onEarlier: () => void,
): Promise<void> {
  const { name } = options;
  const earlier = {
    what: `an earlier launch of ${name}, which the daemon is at`,
    timeoutMs: host.patience.launch,
    next: `multipass list; if ${name} never comes: sudo snap restart multipass (on Linux), then npx labup --yes`,
  };
  const servers = { what: `the image server for ${name}`, timeoutMs: host.patience.imageServers };
  await whilePassing(host, ['being-prepared'], earlier, () =>
    whilePassing(host, ['remote-unreachable'], servers, () =>
      watched(host, name, host.client.launch(options)),
    ).catch((error: unknown) => {
      if (kindOf(error) === 'being-prepared') onEarlier();
      throw error;
    }),
  );
}

/** Says what `list` says of an instance while its launch is under way, which may take half an hour. */
async function watched(host: MultipassHost, name: string, launch: Promise<void>): Promise<void> {
  const over = new AbortController();
  const began = performance.now();
  const watching = waitForState(host, {
    what: `${name} to run`,
    timeoutMs: host.patience.launch,
    signal: over.signal,
    look: async () => {
      const state = (await host.client.list()).get(name)?.state;
      if (state === 'Running') return { done: true, value: undefined };
      const minutes = Math.floor((performance.now() - began) / SAY_AGAIN_MS) * (SAY_AGAIN_MS / 60_000);
      return { done: false, why: `${progressOf(state)}${minutes === 0 ? '' : `, after ${minutes} min`}` };
    },
  }).then(
    () => host.emit({ type: 'note', text: `${name} runs, and cloud-init is running` }),
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

/**
 * Waits while an instance is on its way from one state to another, as long as a first boot may take, longer where a launch
 * is noted that has not come back. Returns where it came to, undefined where it is gone; one that is still Unknown then
 * hangs. Throws LabFailure where it is still in another such state.
 */
async function settled(host: MultipassHost, name: string): Promise<string | undefined> {
  const { firstBoot, launch } = host.patience;
  const entry = await host.registry.read(name);
  const rest = entry?.launched === false ? Date.parse(entry.launchedAt) + launch - Date.now() : 0;
  let state: string | undefined;
  return waitForState<string | undefined>(host, {
    what: `${name} to come to rest`,
    timeoutMs: Math.max(firstBoot, rest),
    next: `multipass info ${name}`,
    look: async () => {
      state = (await listInstances(host)).get(name)?.state;
      return PASSING.includes(state) ? { done: false, why: progressOf(state) } : { done: true, value: state };
    },
  }).catch((error: unknown) => {
    if (state === 'Unknown' && error instanceof LabFailure) return state;
    throw error;
  });
}

/** What a state that `list` shows says of a machine on its way. */
function progressOf(state: string | undefined): string {
  if (state === undefined) return 'it is being prepared';
  if (state === 'Unknown') return 'it boots, and its SSH does not answer yet (state Unknown)';
  return `it is ${state.toLowerCase()}`;
}

/**
 * Makes an instance of ours run, whatever state it is in but Deleted; returns whether it had to. A start that the daemon
 * did not live to see, or that took too long, is tried once more. Throws LabFailure naming it where it cannot be done.
 */
export async function ensureRunning(host: MultipassHost, name: string, seen: string): Promise<boolean> {
  const { client, exclusive } = host;
  let failure: unknown;
  let state: string | undefined = seen;
  for (let starts = 0; ; starts++) {
    if (PASSING.includes(state)) state = await settled(host, name);
    if (state === 'Running') return starts > 0;
    if (state === 'Unknown' && starts === 0) {
      // The daemon refuses to start such a one.
      const text = `powering off ${name}, whose SSH did not answer as long as a first boot takes`;
      host.emit({ type: 'note', text });
      await exclusive(() => client.powerOff(name));
      state = 'Stopped';
    }
    if (state === 'Unknown') throw neverAnswers(name, failure);
    if (!DOWN.includes(state) || starts === 2) throw failure ?? cannotStart(name, state);
    host.emit({ type: 'note', text: `starting ${name}${starts > 0 ? ' once more' : ''}` });
    failure = await client.start(name).catch((error: unknown) => error);
    if (failure === undefined) return true;
    if (!['timeout', 'no-ssh', 'daemon-down', 'busy'].includes(kindOf(failure) ?? '')) throw failure;
    // The daemon may have gone on without the client: what counts is what is there.
    state = await settled(host, name);
  }
}

/** Another start would change nothing: what such a machine lacks, such as a network, it has lacked since it was launched. */
function neverAnswers(name: string, cause: unknown): LabFailure {
  return new LabFailure(`The SSH of ${name} does not answer, not after a new start either (state Unknown).`, {
    details: [messageOf(cause)],
    next: `multipass delete --purge ${name}; then npx labup --yes   (launches it anew)`,
    cause,
  });
}

function cannotStart(name: string, state = 'gone'): LabFailure | UserError {
  if (state === 'Unavailable')
    return new UserError(`${name} is in a Multipass zone that is switched off.`, {
      next: 'multipass zones; multipass enable-zones --all',
    });
  return new LabFailure(`${name} is in state "${state}", which labup cannot start it from.`, {
    next: `multipass info ${name}; npx labup --yes`,
  });
}

/** Waits a moment for a machine that runs to answer, which Running promises. Throws LabFailure where it does not. */
export async function answering(host: MultipassHost, name: string): Promise<GuestFacts> {
  return waitForState(host, {
    what: `${name}, which runs, to answer`,
    timeoutMs: host.patience.guest,
    next: `multipass stop --force ${name}; npx labup --yes   (starts it again)`,
    look: async () => ({ done: true, value: await askGuest(host.client, name) }),
  });
}

/**
 * Waits until cloud-init is done with a running machine, or reports errors before that; returns what the guest says then.
 * That `launch` ends well says only that cloud-init came to its end, not that it succeeded
 * (https://github.com/canonical/multipass/issues/5060).
 */
export async function provisioned(host: MultipassHost, name: string): Promise<GuestFacts> {
  return waitForState(host, {
    what: `cloud-init on ${name}`,
    timeoutMs: host.patience.firstBoot,
    next: `multipass exec -n ${name} -- cloud-init status --long`,
    look: async () => {
      const facts = await askGuest(host.client, name);
      const { finished, errors } = facts.cloudInit;
      return finished || errors.length > 0
        ? { done: true, value: facts }
        : { done: false, why: 'it is busy' };
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
  entry: Entry | undefined,
): Promise<void> {
  if (cloudInit.errors.length === 0) return;
  if (entry !== undefined) await registry.write(name, { ...entry, failed: true });
  const then =
    entry === undefined ? 'npx labdown --yes && npx labup --yes' : 'npx labup --yes   (makes it anew)';
  throw new LabFailure(`cloud-init failed on ${name}.`, {
    details: cloudInit.errors,
    next: `multipass exec -n ${name} -- sudo tail -n 50 /var/log/cloud-init-output.log; then ${then}`,
  });
}
