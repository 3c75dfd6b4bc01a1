import type { LimitFunction } from 'p-limit';
import { backendFault, versionFault } from '../../plan/doctor/multipass.ts';
import type { LabPlan } from '../../plan/types.ts';
import { UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { Listed, Multipass } from './client.ts';
import { type Patience, whilePassing } from './patience.ts';
import type { Registry } from './registry.ts';

/** How many guests are asked at once; each is an SSH connection of the client's own. */
export const ASKED_AT_ONCE = 4;

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
  await listInstances(host, emit);
  const { client, daemon = client } = await host.client.versions();
  const backend = await host.client.setting('local.driver');
  const fault =
    versionFault('multipass', client) ?? versionFault('multipassd', daemon) ?? backendFault(backend);
  // The same as lab doctor says, which asked a moment ago: a daemon may have come up only now.
  if (fault !== undefined) throw new UserError(fault.message, { next: fault.hint });
  await requireNoPrimary(host, plan);
  await requireNetwork(host, plan, emit);
  emit({ type: 'note', text: `Multipass ${daemon}, driver ${backend}` });
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
  host: Pick<MultipassHost, 'client' | 'patience'>,
  emit: Emit,
): Promise<ReadonlyMap<string, Listed>> {
  const what = 'the Multipass daemon';
  const { client, patience } = host;
  return whilePassing(host, ['timeout'], { what, timeoutMs: patience.blocked, emit }, () =>
    whilePassing(host, ['daemon-down'], { what, timeoutMs: patience.daemon, emit }, () => client.list()),
  );
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
