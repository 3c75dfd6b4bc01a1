import type { LimitFunction } from 'p-limit';
import { z } from 'zod';
import type { Executor } from '../../exec/executor.ts';
import { backendFault, versionFault } from '../../plan/doctor/system.ts';
import type { MultipassFact } from '../../plan/host-facts.ts';
import type { LabPlan } from '../../plan/types.ts';
import { Interrupted, LabError, messageOf, UserError } from '../../shared/errors.ts';
import { type Emit, silent } from '../../shared/events.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { type Look, type WaitOptions, waitFor } from '../../shared/wait.ts';
import { Notes, notesFolder } from '../notes.ts';
import { type FailureKind, kindOf, type Listed, type Multipass, multipass } from './client.ts';

const entrySchema = z.object({
  lab: z.string(),
  /** When the launch began. */
  launchedAt: z.iso.datetime(),
  /** Whether the launch has come back; not so while it runs, or where labup was killed meanwhile. */
  launched: z.boolean(),
  /** Whether SSH never came up in it, or cloud-init failed; after its next boot the guest would not say so any more. */
  failed: z.boolean().optional(),
  /** Hash of what it was launched with. */
  recipe: z.string().optional(),
});

/** What is noted about an instance that a lab launched. */
export type Entry = z.infer<typeof entrySchema>;

/**
 * Which instances this user's labs launched, a note for each: Multipass has no labels, and a guest that is stopped cannot
 * be asked. Two labs that come up at the same time have nothing to share.
 */
export class Registry extends Notes<Entry> {
  constructor(folder: string = notesFolder('multipass')) {
    super(folder, entrySchema, (name) => ({
      details: [`it says which lab launched the Multipass instance ${name}`],
      next: `look at the instance (multipass info ${name}), then remove the file`,
    }));
  }

  /** The entries of one lab. */
  async of(lab: string): Promise<ReadonlyMap<string, Entry>> {
    return new Map([...(await this.all())].filter(([, entry]) => entry.lab === lab));
  }
}

/** Whether an instance that is not there may still come: its launch is younger than a launch can take. */
export function mayStillCome(
  { launched, launchedAt }: Pick<Entry, 'launched' | 'launchedAt'>,
  { launch }: { readonly launch: number },
): boolean {
  return !launched && Date.parse(launchedAt) + launch > Date.now();
}

/** How many guests are asked at once; each is an SSH connection of the client's own. */
export const ASKED_AT_ONCE = 4;

/** What the driver works with. */
export interface MultipassHost {
  readonly client: Multipass;
  readonly registry: Registry;
  readonly patience: Patience;
  /** Powering off and removing, one at a time: the daemon serves nobody else meanwhile. */
  readonly exclusive: LimitFunction;
  readonly emit: Emit;
}

/**
 * Checks everything of the host that the plan needs of Multipass, and changes nothing: it is installed, recent enough,
 * answers, and can carry the plan's network. Throws UserError naming what is missing.
 */
export async function checkHost(host: MultipassHost, plan: LabPlan): Promise<void> {
  await listInstances(host);
  const { client, daemon = client } = await host.client.versions();
  const backend = await host.client.setting('local.driver');
  const fault =
    versionFault('multipass', client) ?? versionFault('multipassd', daemon) ?? backendFault(backend);
  // The same as lab doctor says, which asked a moment ago: a daemon may have come up only now.
  if (fault !== undefined) throw new UserError(fault.message, { next: fault.hint });
  await requireNoPrimary(host, plan);
  await requireNetwork(host, plan);
  host.emit({ type: 'note', text: `Multipass ${daemon}, driver ${backend}` });
}

/** The daemon's version, else the client's. */
export async function versionOf({ client }: Pick<MultipassHost, 'client'>): Promise<string> {
  const versions = await client.versions();
  return versions.daemon ?? versions.client;
}

/**
 * All instances. A daemon that restarts (snaps update themselves) is waited for, and so is one that answers nobody because
 * it waits for some guest to shut down. Throws what `classify` makes of a failure.
 */
export async function listInstances(
  host: Pick<MultipassHost, 'client' | 'patience' | 'emit'>,
): Promise<ReadonlyMap<string, Listed>> {
  const what = 'the Multipass daemon';
  const { client, patience } = host;
  return whilePassing(host, ['timeout'], { what, timeoutMs: patience.blocked }, () =>
    whilePassing(host, ['daemon-down'], { what, timeoutMs: patience.daemon }, () => client.list()),
  );
}

async function requireNoPrimary({ client }: MultipassHost, plan: LabPlan): Promise<void> {
  const primary = await client.setting('client.primary-name');
  if (plan.machines.every(({ name }) => name !== primary)) return;
  throw new UserError(`"${primary}" is Multipass' primary instance, which gets this user's home mounted.`, {
    next: `rename machine ${primary} in lab.yaml`,
  });
}

async function requireNetwork({ client, emit }: MultipassHost, plan: LabPlan): Promise<void> {
  const { mode, bridge } = multipassOf(plan).network;
  if (mode !== 'bridge') return;
  const networks = await client.networks();
  const usable = networks.filter(({ type }) => type === 'bridge' || type === 'switch');
  const chosen = networks.find(({ name }) => name === bridge);
  if (chosen === undefined || !usable.includes(chosen))
    throw new UserError(
      chosen === undefined
        ? `Multipass knows no network "${bridge ?? ''}".`
        : `Network "${chosen.name}" is of type ${chosen.type}, and a lab needs a bridge.`,
      {
        details: [
          ...networks.map(({ name, type, description }) => `${name}: ${type}, ${description}`),
          'a plain Ethernet would be put on a bridge by NetworkManager, and Wi-Fi carries one address only',
        ],
        next:
          usable.length > 0
            ? `set multipass.network.bridge in lab.yaml to one of: ${usable.map(({ name }) => name).join(', ')}`
            : 'sudo ip link add labbr1 type bridge && sudo ip link set labbr1 up, then name it in lab.yaml (multipass.network.bridge)',
      },
    );
  emit({ type: 'note', text: `lab network on ${chosen.name} (${chosen.description})` });
}

/** What the plan says for this driver. Throws where the plan was made for another one. */
export function multipassOf(plan: LabPlan): NonNullable<LabPlan['multipass']> {
  if (plan.multipass === undefined) throw new Error('the plan was not made for driver multipass');
  return plan.multipass;
}

/** What `launch` gets as its --timeout: for each stage in the daemon (SSH, cloud-init with its packages). */
export const LAUNCH_SECONDS = 1800;

/** Every wait of this driver, in milliseconds, and how often is looked; the rest is TIMEOUTS of shared/. */
export const PATIENCE = {
  /** Between two looks: the daemon does one thing at a time, and a look is one. */
  poll: 2_000,
  /** The daemon after its start or that of the host. */
  daemon: TIMEOUTS.daemonReady,
  /** A daemon that waits for a guest to shut down, which it does for 300 s, and answers nobody meanwhile. */
  blocked: 360_000,
  /** A daemon that has just started does not know its image servers yet. */
  imageServers: 120_000,
  /** A running guest's SSH, and its address. */
  guest: TIMEOUTS.machineSsh,
  /** A boot with cloud-init and its packages, over any line; a machine that boots is Unknown until its SSH answers. */
  firstBoot: 1_200_000,
  /** A launch that has not come back, which the daemon goes on with: as long as it may take each of its stages. */
  launch: LAUNCH_SECONDS * 1000,
  /** The same for labdown, which only waits for what is nearly there. */
  lateLaunch: 60_000,
};
export type Patience = Readonly<Record<keyof typeof PATIENCE, number>>;

type Patient = Pick<MultipassHost, 'patience' | 'emit'>;

/**
 * waitFor at the pace that suits the daemon. A UserError ends the wait at once: it does not go away by itself. What else
 * is thrown counts as "not yet".
 */
export async function waitForState<T>(
  { patience, emit }: Patient,
  { look, ...options }: Omit<WaitOptions<T>, 'pollMs' | 'emit'>,
): Promise<T> {
  let refusal: UserError | undefined;
  const lookOnce = async (): Promise<Look<T>> =>
    look().catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      refusal = error;
      return { done: false, why: error.message, hopeless: true };
    });
  return waitFor({ ...options, pollMs: patience.poll, emit, look: lookOnce }).catch((error: unknown) => {
    throw refusal ?? error;
  });
}

/**
 * Does work again while it fails of something that may pass. Throws what it failed of in the end, or, with `next`, the
 * wait's own error.
 */
export async function whilePassing<T>(
  { patience, emit }: Patient,
  passing: readonly FailureKind[],
  options: Omit<WaitOptions<T>, 'pollMs' | 'look' | 'emit'>,
  work: () => Promise<T>,
): Promise<T> {
  let failure: unknown;
  let isPassing = true;
  const look = async (): Promise<Look<T>> => {
    try {
      return { done: true, value: await work() };
    } catch (error) {
      failure = error;
      isPassing = passing.some((kind) => kind === kindOf(error));
      return { done: false, why: messageOf(error), hopeless: !isPassing };
    }
  };
  return waitFor({ ...options, pollMs: patience.poll, emit, look }).catch((error: unknown) => {
    throw error instanceof Interrupted || (isPassing && options.next !== undefined) ? error : failure;
  });
}

/** A daemon that is being restarted, as a snap does that updates itself, is there again by then. In milliseconds. */
const RESTART_MS = 20_000;

/**
 * What there is of Multipass, once a daemon that restarts is there again. `version` also succeeds without a daemon and
 * then leaves "multipassd" out; only another command tells whether the daemon runs and knows the user.
 */
export async function lookAtMultipass(
  local: Executor,
  patience: Partial<Patience> = {},
): Promise<MultipassFact> {
  const client = multipass(local);
  const limits = { ...PATIENCE, daemon: RESTART_MS, blocked: 0, ...patience };
  const answered = await listInstances({ client, patience: limits, emit: silent }).catch(refusalOf);
  const versions = await client.versions().catch(refusalOf);
  if ('refusal' in versions) return versions;
  const driver = 'refusal' in answered ? answered : await client.setting('local.driver').catch(refusalOf);
  return {
    client: versions.client,
    ...(versions.daemon && { daemon: versions.daemon }),
    ...(typeof driver === 'string' ? { driver } : driver),
  };
}

/** Where Multipass keeps its machines. */
export const MULTIPASS_FOLDER = '/var/snap/multipass/common/data/multipassd';

/** Why a call failed, and the cure that the driver would name. Throws what is no failure of Multipass. */
function refusalOf(error: unknown): Required<Pick<MultipassFact, 'refusal'>> {
  if (error instanceof Interrupted || !(error instanceof LabError)) throw error;
  const hint =
    kindOf(error) === 'timeout'
      ? 'wait up to five minutes: an instance that does not shut down blocks the daemon; then try again'
      : 'multipass list   (says more)';
  return { refusal: { message: messageOf(error), hint: error.next ?? hint } };
}
