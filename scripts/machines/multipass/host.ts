import type { LimitFunction } from 'p-limit';
import { backendFault, versionFault } from '../../plan/doctor/multipass.ts';
import type { LabPlan } from '../../plan/types.ts';
import { Interrupted, messageOf, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { Fault } from '../../spec/formats.ts';
import type { Listed, Multipass } from './client.ts';
import { kindOf } from './failure.ts';
import { type Patience, waitForState } from './patience.ts';
import type { Registry } from './registry.ts';

/** What the driver works with. */
export interface MultipassHost {
  readonly client: Multipass;
  readonly registry: Registry;
  readonly patience: Patience;
  /** Powering off and removing, one at a time: the daemon serves nobody else meanwhile. */
  readonly exclusive: LimitFunction;
}

/**
 * Checks everything of the host that the plan needs of Multipass, and changes nothing: it is installed, recent enough,
 * answers, and can carry the plan's network. Throws UserError naming what is missing.
 */
export async function checkHost(host: MultipassHost, plan: LabPlan, emit: Emit): Promise<void> {
  const version = await requireDaemon(host, emit);
  const backend = await host.client.setting('local.driver');
  refuse(backendFault(backend, host.client.platform));
  await requireNoPrimary(host, plan);
  await requireNetwork(host, plan, emit);
  emit({ type: 'note', text: `Multipass ${version}, driver ${backend}` });
}

/**
 * The daemon's version, as it says it. Waits for one that is starting. Throws UserError where it is not installed, does
 * not answer, may not be asked, or is too old.
 */
export async function requireDaemon(host: MultipassHost, emit: Emit): Promise<string> {
  await listInstances(host, emit);
  const { client, daemon = client } = await host.client.versions();
  refuse(versionFault('multipass', client, host.client.platform));
  refuse(versionFault('multipassd', daemon, host.client.platform));
  return daemon;
}

/** The daemon's version, else the client's. */
export async function versionOf({ client }: Pick<MultipassHost, 'client'>): Promise<string> {
  const versions = await client.versions();
  return versions.daemon ?? versions.client;
}

/**
 * All instances. A daemon that restarts (snaps update themselves) is waited for, and so is one that answers nobody because
 * it waits for some guest to shut down. Throws MultipassRefusal or MultipassFailure.
 */
export async function listInstances(
  host: Pick<MultipassHost, 'client' | 'patience'>,
  emit: Emit,
): Promise<ReadonlyMap<string, Listed>> {
  const { client, patience } = host;
  let failure: unknown;
  const list = () =>
    client.list().catch((error: unknown) => {
      failure = error;
      if (!isAway(error)) throw error;
      return undefined;
    });
  const first = await list();
  if (first !== undefined) return first;
  return waitForState<ReadonlyMap<string, Listed>>(host, {
    what: 'the Multipass daemon',
    timeoutMs: kindOf(failure) === 'timeout' ? patience.blocked : patience.daemon,
    emit,
    look: async () => {
      const value = await list();
      return value === undefined ? { done: false, why: messageOf(failure) } : { done: true, value };
    },
  }).catch((error: unknown) => {
    throw error instanceof Interrupted ? error : failure;
  });
}

/** Whether a call failed since the daemon does not run or does not answer now. */
function isAway(error: unknown): boolean {
  return kindOf(error) === 'daemon-down' || kindOf(error) === 'timeout';
}

// The same as lab doctor says, which asked a moment ago: a daemon may have come up only now.
function refuse(fault: Fault | undefined): void {
  if (fault !== undefined) throw new UserError(fault.message, { next: fault.hint });
}

async function requireNoPrimary({ client }: MultipassHost, plan: LabPlan): Promise<void> {
  const primary = await client.setting('client.primary-name');
  if (plan.machines.every(({ name }) => name !== primary)) return;
  throw new UserError(`"${primary}" is Multipass' primary instance, which gets this user's home mounted.`, {
    next: `rename machine ${primary} in lab.yaml`,
  });
}

async function requireNetwork({ client }: MultipassHost, plan: LabPlan, emit: Emit): Promise<void> {
  const { mode, bridge } = multipassOf(plan).network;
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

/** What the plan says for this driver. Throws where the plan was made for another one. */
export function multipassOf(plan: LabPlan): NonNullable<LabPlan['multipass']> {
  if (plan.multipass === undefined) throw new Error('the plan was not made for driver multipass');
  return plan.multipass;
}
