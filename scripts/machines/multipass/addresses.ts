import pLimit from 'p-limit';
import type { SshTarget } from '../../exec/ssh.ts';
import { type FoundAddresses, findsAddresses } from '../../plan/found.ts';
import { type LabPlan, theMachine } from '../../plan/types.ts';
import { LabFailure } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { networkOf, parseCidr } from '../../shared/ip.ts';
import type { LinkAddress } from '../../shared/ip-json.ts';
import type { Secrets } from '../../shared/secrets.ts';
import { askGuest, managementAddress } from './guest.ts';
import { ASKED_AT_ONCE, listInstances, type MultipassHost } from './host.ts';
import { foreignError, whoseIt } from './ownership.ts';
import { waitForState } from './patience.ts';

/**
 * How every machine of the plan is reached. The address is asked for each time: it may be another one after every start.
 * Throws LabFailure naming one that does not run.
 */
export async function reach(
  host: MultipassHost,
  plan: LabPlan,
  secrets: Secrets,
  emit: Emit,
): Promise<readonly SshTarget[]> {
  const seen = await askAll(host, plan, emit);
  return seen.map(({ name, at, hostKey }) => ({
    name,
    address: at.address,
    hostKey,
    user: 'root',
    privateKey: secrets.clientKey.privateKey,
  }));
}

/**
 * Where the lab's addresses are those that Multipass gives: which these are now, in the network of the control plane. The
 * host is the machines' default gateway there. Undefined for every other plan. Throws LabFailure naming a machine that
 * does not run, or has no gateway.
 */
export async function findAddresses(
  host: MultipassHost,
  plan: LabPlan,
  emit: Emit,
): Promise<FoundAddresses | undefined> {
  if (!findsAddresses(plan)) return undefined;
  const seen = await askAll(host, plan, emit);
  const { name } = theMachine(plan, 'control-plane');
  const first = seen.find((each) => each.name === name);
  if (first?.gateway === undefined) {
    throw new LabFailure(`${name} has no gateway, so the address of this host is not known.`, {
      next: `multipass exec -n ${name} -- ip route`,
    });
  }
  return {
    subnet: networkOf({ address: first.at.address, length: first.at.prefixLength }),
    hostAddress: first.gateway,
    machines: new Map(seen.map((each) => [each.name, each.at.address])),
  };
}

interface Seen {
  readonly name: string;
  readonly at: LinkAddress;
  readonly gateway: string | undefined;
  readonly hostKey: string;
}

/** What every machine says of itself, in plan order. */
async function askAll(host: MultipassHost, plan: LabPlan, emit: Emit): Promise<readonly Seen[]> {
  const listed = await listInstances(host, emit);
  const down = plan.machines.filter(({ name }) => listed.get(name)?.state !== 'Running');
  if (down.length > 0) {
    throw new LabFailure(`Not running: ${down.map(({ name }) => name).join(', ')}.`, {
      details: down.map(({ name }) => `${name}: ${listed.get(name)?.state.toLowerCase() ?? 'not there'}`),
      next: 'npx labup --yes',
    });
  }
  return pLimit(ASKED_AT_ONCE).map(plan.machines, ({ name }) => askOne(host, plan, name, emit));
}

async function askOne(host: MultipassHost, plan: LabPlan, name: string, emit: Emit): Promise<Seen> {
  // An address of the lab beside the machine's own is not how this host reaches it.
  const labNetwork = findsAddresses(plan) ? undefined : parseCidr(plan.network.subnet);
  return waitForState(host, {
    what: `${name} to have an address`,
    timeoutMs: host.patience.guest,
    next: `multipass exec -n ${name} -- ip addr`,
    emit,
    look: async () => {
      const facts = await askGuest(host.client, name);
      const { owner, hostKey } = facts;
      if (owner !== plan.lab) throw foreignError(plan.lab, [{ name, state: 'Running', why: whoseIt(facts) }]);
      const at = managementAddress(facts, labNetwork);
      return at === undefined || hostKey === undefined
        ? { done: false, why: at === undefined ? 'none on its default route' : 'it has no host key' }
        : { done: true, value: { name, at, gateway: facts.uplink?.gateway, hostKey } };
    },
  });
}
