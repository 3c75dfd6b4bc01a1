import type { LabPlan } from '../../plan/types.ts';
import { Interrupted, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { Listed, Multipass } from './client.ts';
import { kindOf } from './failure.ts';
import { type Patience, waitForState } from './patience.ts';
import type { Registry } from './registry.ts';
import { atLeast, FLOOR, parseVersion, type Version, versionText } from './version.ts';

/** What the driver works with. */
export interface MultipassHost {
  readonly client: Multipass;
  readonly registry: Registry;
  readonly patience: Patience;
  /** Powering off and removing, one at a time: the daemon serves nobody else meanwhile. */
  readonly exclusive: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Multipass' own drivers whose guests reach each other and the host by plain IP, per platform. */
const BACKENDS: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  linux: ['qemu'],
  darwin: ['qemu', 'applevz'],
};

/**
 * Checks everything of the host that the plan needs of Multipass, and changes nothing: it is installed, recent enough,
 * answers, and can carry the plan's network. Throws UserError naming what is missing.
 */
export async function checkHost(host: MultipassHost, plan: LabPlan, emit: Emit): Promise<void> {
  const version = await requireDaemon(host, emit);
  const backend = await host.client.setting('local.driver');
  requireBackend(host.client.platform, backend);
  await requireNoPrimary(host, plan);
  await requireNetwork(host, plan, emit);
  emit({ type: 'note', text: `Multipass ${version}, driver ${backend}` });
}

/**
 * The daemon's version, as it says it. Waits for one that is starting. Throws UserError where it is not installed, does
 * not answer, may not be asked, or is too old.
 */
export async function requireDaemon(host: MultipassHost, emit: Emit): Promise<string> {
  const { client, daemon } = await host.client.versions();
  requireFloor('multipass', client);
  const answered = daemon ?? (await waitForDaemon(host, emit));
  requireFloor('multipassd', answered);
  return answered;
}

/** The version as numbers; the oldest supported where it does not look like one. */
export async function versionOf({ client }: MultipassHost): Promise<Version> {
  const versions = await client.versions();
  return parseVersion(versions.daemon ?? versions.client) ?? FLOOR;
}

/** All instances. A daemon that restarts (snaps update themselves) is waited for once. */
export async function listInstances(host: MultipassHost, emit: Emit): Promise<ReadonlyMap<string, Listed>> {
  try {
    return await host.client.list();
  } catch (error) {
    if (kindOf(error) !== 'daemon-down') throw error;
    await waitForDaemon(host, emit);
    return host.client.list();
  }
}

async function waitForDaemon(host: MultipassHost, emit: Emit): Promise<string> {
  // `version` ends well also without a daemon; only another command tells why it does not answer.
  let refusal: unknown;
  const daemon = await waitForState<string | undefined>(host, {
    what: 'the Multipass daemon',
    timeoutMs: host.patience.daemon,
    emit,
    look: async () => {
      const { daemon } = await host.client.versions();
      if (daemon !== undefined) return { done: true, value: daemon };
      refusal = await host.client.list().then(
        () => undefined,
        (error: unknown) => error,
      );
      const hopeless = refusal !== undefined && kindOf(refusal) !== 'daemon-down';
      return hopeless ? { done: true, value: undefined } : { done: false, why: 'it does not answer' };
    },
  }).catch((error: unknown) => {
    throw error instanceof Interrupted ? error : (refusal ?? error);
  });
  if (daemon === undefined) throw refusal;
  return daemon;
}

function requireFloor(program: string, text: string): void {
  const version = parseVersion(text);
  if (version !== undefined && atLeast(version, FLOOR)) return;
  throw new UserError(`${program} is ${text}; this driver needs ${versionText(FLOOR)} or later.`, {
    next: 'Linux: sudo snap refresh multipass; macOS: brew upgrade --cask multipass',
  });
}

function requireBackend(platform: NodeJS.Platform, backend: string): void {
  const supported = BACKENDS[platform];
  if (supported === undefined) {
    throw new UserError(`Driver multipass works on Linux and macOS, and this is ${platform}.`, {
      next: 'run labup in a Linux machine, with: --driver incus',
    });
  }
  if (supported.includes(backend)) return;
  throw new UserError(`Multipass uses its driver "${backend}"; the lab needs ${supported.join(' or ')}.`, {
    details: [
      'its guests have no address that the host and the other guests reach, or it is deprecated and gone in 1.17',
    ],
    // Not done here: it is a global setting, restarts the daemon and hides every instance of the other driver.
    next: `multipass set local.driver=${supported[0]}   (hides the instances that you have now)`,
  });
}

async function requireNoPrimary({ client }: MultipassHost, plan: LabPlan): Promise<void> {
  const primary = await client.setting('client.primary-name');
  if (plan.machines.every(({ name }) => name !== primary)) return;
  throw new UserError(`"${primary}" is Multipass' primary instance, which gets this user's home mounted.`, {
    next: `rename machine ${primary} in lab.yaml`,
  });
}

async function requireNetwork({ client }: MultipassHost, plan: LabPlan, emit: Emit): Promise<void> {
  const { mode, bridge } = networkOf(plan);
  if (client.platform === 'darwin' && mode !== 'dhcp') {
    throw new UserError(`Network mode "${mode}" does not work with Multipass on macOS.`, {
      details: [
        'macOS lets only the address through that it gave a machine; answers for any other are filtered out.',
        'https://documentation.ubuntu.com/multipass/latest/how-to-guides/troubleshoot/troubleshoot-networking/',
      ],
      next: 'bring the lab up on a Linux host',
    });
  }
  if (mode !== 'bridge') return;
  const networks = await client.networks();
  const usable = networks.filter(({ type }) => type === 'bridge' || type === 'switch');
  const chosen = networks.find(({ name }) => name === bridge);
  if (chosen === undefined || !usable.includes(chosen)) {
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
  }
  emit({ type: 'note', text: `lab network on ${chosen.name} (${chosen.description})` });
}

/** The plan's network mode. Any text: what is not known here is treated as the guest's business. */
export function networkOf(plan: LabPlan): { readonly mode: string; readonly bridge?: string | undefined } {
  return multipassOf(plan).network;
}

/** What the plan says for this driver. Throws where the plan was made for another one. */
export function multipassOf(plan: LabPlan): NonNullable<LabPlan['multipass']> {
  if (plan.multipass === undefined) throw new Error('the plan was not made for driver multipass');
  return plan.multipass;
}
