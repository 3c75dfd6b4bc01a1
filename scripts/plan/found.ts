import { UserError } from '../shared/errors.ts';
import { contains, networkOf, overlaps, parseCidr } from '../shared/ip.ts';
import { isHostAddress } from '../spec/defaults.ts';
import { cidrProblem } from '../spec/problems.ts';
import { SUBNET_LENGTHS } from '../spec/schema.ts';
import { apiServerAt, checkedCidr, namedPrefixes, peeringsOf } from './addressing.ts';
import { type LabPlan, theMachine } from './types.ts';

/** What a plan says in the place of an address that only the running machines have. */
export const AT_RUN_TIME = 'found at run time';

/** The addresses of a lab whose network gives its machines their own. */
export interface FoundAddresses {
  /** The network that they are in: "10.97.0.0/24". */
  readonly subnet: string;
  /** The host's own address there. */
  readonly hostAddress: string;
  /** By machine name. */
  readonly machines: ReadonlyMap<string, string>;
}

/** Whether the lab's addresses are those that its machines turn out to have, whatever lab.yaml says. */
export function findsAddresses({ multipass }: Pick<LabPlan, 'multipass'>): boolean {
  return multipass?.network.mode === 'dhcp';
}

/** Whether the addresses of this plan are still to be found. */
export function isPending({ network }: Pick<LabPlan, 'network'>): boolean {
  return network.subnet === AT_RUN_TIME;
}

/** The plan with other addresses, and everything that follows from them. Pure. Throws where a machine has none. */
export function planAt(plan: LabPlan, found: FoundAddresses): LabPlan {
  const addressOf = (name: string) => {
    const address = found.machines.get(name);
    if (address === undefined) throw new Error(`no address was found for ${name}`);
    return address;
  };
  const router = theMachine(plan, 'router').name;
  const machines = plan.machines.map((machine) => ({
    ...machine,
    address: addressOf(machine.name),
    // The router is the only gateway that a plan has (routesOf).
    routes: machine.routes.map((route) =>
      route.via === undefined ? route : { ...route, via: addressOf(router) },
    ),
  }));
  return {
    ...plan,
    network: {
      ...plan.network,
      subnet: found.subnet,
      prefixLength: parseCidr(found.subnet)?.length ?? 0,
      hostAddress: found.hostAddress,
    },
    machines,
    kubernetes: {
      ...plan.kubernetes,
      apiServer: apiServerAt(addressOf(theMachine(plan, 'control-plane').name)),
    },
    bgp: { ...plan.bgp, peerings: peeringsOf(machines, plan.bgp) },
  };
}

/** The plan without addresses, as it is before there are machines. */
export function pendingPlan(plan: LabPlan): LabPlan {
  return planAt(plan, {
    subnet: AT_RUN_TIME,
    hostAddress: AT_RUN_TIME,
    machines: new Map(plan.machines.map(({ name }) => [name, AT_RUN_TIME])),
  });
}

/**
 * A plan without addresses, at those that an earlier labup found, as long as they are not asked for again; the plan as it
 * is where there are none.
 */
export function planAtLast(plan: LabPlan, last: LabPlan | undefined): LabPlan {
  if (!isPending(plan) || last === undefined || isPending(last)) return plan;
  const { subnet, hostAddress } = last.network;
  const machines = new Map(last.machines.map(({ name, address }) => [name, address]));
  return planAt(plan, { subnet, hostAddress, machines });
}

/**
 * The rules of lab.yaml over addresses, for addresses that were found. Throws UserError naming every one that is broken,
 * and what in lab.yaml has to give way.
 */
export function requireFit(plan: LabPlan): void {
  const { subnet, hostAddress } = plan.network;
  const next = 'npx labdown --yes, change lab.yaml, then npx labup --yes';
  const fault = cidrProblem(subnet, ...SUBNET_LENGTHS);
  if (fault !== undefined)
    throw new UserError('The lab cannot be in the network that its machines were given.', {
      details: [fault.message],
      next: 'use another network in lab.yaml (multipass.network.mode: static or bridge)',
    });
  const network = checkedCidr(subnet);
  const overlapping = namedPrefixes(plan).filter(({ cidr }) => overlaps(cidr, network));
  const holders = [
    { name: 'the host', address: hostAddress },
    ...plan.machines.map(({ name, address }) => ({ name, address })),
  ];
  const outside = holders.filter(({ address }) => !isHostAddress(network, address));
  const twice = holders.filter(({ address }, index) =>
    holders.slice(0, index).some((other) => other.address === address),
  );
  const details = [
    ...overlapping.map(({ subject, cidr }) => `${networkOf(cidr)} of ${subject} overlaps ${subnet}`),
    ...outside.map(({ name, address }) => {
      const how = contains(network, address) ? 'at an end of' : 'outside';
      return `${name} has ${address}, which is ${how} ${subnet}`;
    }),
    ...twice.map(({ name, address }) => `${name} has ${address}, which another one has already`),
  ];
  if (details.length === 0) return;
  const gives = [...new Set(overlapping.map(({ subject }) => subject))];
  throw new UserError(`The lab does not fit into ${subnet}, the network that its machines were given.`, {
    details,
    next:
      gives.length > 0
        ? `${next}   (set ${gives.join(' and ')} to prefixes that share no address with ${subnet})`
        : 'npx labdown --yes && npx labup --yes   (makes the machines anew)',
  });
}
