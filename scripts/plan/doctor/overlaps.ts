import { type Cidr, contains, networkOf, overlaps, parseCidr } from '../../shared/ip.ts';
import { checkedCidr, namedPrefixes } from '../addressing.ts';
import { findsAddresses } from '../found.ts';
import type { HostFacts, HostRoute } from '../host-facts.ts';
import type { HostProblem } from '../host-problem.ts';
import type { LabPlan } from '../types.ts';

interface PlacedRoute extends HostRoute {
  readonly cidr: Cidr;
}

/**
 * The lab subnet against the host's own networks. The bridge gives the host a connected route to the subnet, so the
 * two must not compete, except with a wider route through a gateway, from which the lab merely takes its part.
 */
export function subnetOverlaps(plan: LabPlan, facts: HostFacts): HostProblem[] {
  const subnet = checkedCidr(plan.network.subnet);
  const subject = 'network.subnet';
  const hint = subnetHint(plan, facts);
  const routes = foreignRoutes(plan, facts).filter(({ cidr }) => overlaps(cidr, subnet));
  const problems = routes.map((route): HostProblem => {
    const message = `${plan.network.subnet} overlaps the host's route ${describe(route)}`;
    if (route.kind !== 'connected' && route.cidr.length < subnet.length) {
      const harmless = 'none needed unless the host must reach these addresses elsewhere while the lab runs';
      return {
        severity: 'warning',
        subject,
        message: `${message}; the lab's part of it wins`,
        hint: harmless,
      };
    }
    return { severity: 'error', subject, message, hint };
  });
  const known = new Set(routes.filter(({ kind }) => kind === 'connected').map(({ dev }) => dev));
  const addresses = facts.addresses.filter(
    ({ dev, address }) => !isOwn(plan, facts, dev) && !known.has(dev) && contains(subnet, address),
  );
  return [
    ...problems,
    ...addresses.map(({ dev, address }): HostProblem => {
      const message = `${plan.network.subnet} holds the address ${address} of the host's interface ${dev}`;
      return { severity: 'error', subject, message, hint };
    }),
  ];
}

/** The prefixes that only the lab's machines have routes to, against the host's networks: never more than a warning. */
export function prefixOverlaps(plan: LabPlan, facts: HostFacts): HostProblem[] {
  const routes = foreignRoutes(plan, facts);
  return namedPrefixes(plan).flatMap(({ subject, cidr }) =>
    routes
      .filter((route) => overlaps(route.cidr, cidr))
      .map((route) => ({
        severity: 'warning',
        subject,
        message: `${networkOf(cidr)} overlaps the host's route ${describe(route)}; only the lab's machines use it`,
        hint: 'none needed unless a machine of the lab must reach that network',
      })),
  );
}

/** Name servers of the host that the lab would hide from the host, or from its own machines. */
export function resolverOverlaps(plan: LabPlan, facts: HostFacts): HostProblem[] {
  // A network that is the host's already hides nothing from it.
  const subnet = findsAddresses(plan) ? undefined : checkedCidr(plan.network.subnet);
  return facts.resolvers.flatMap((resolver): HostProblem[] => {
    if (subnet !== undefined && contains(subnet, resolver)) {
      const message = `${plan.network.subnet} holds the host's name server ${resolver}, which would become unreachable`;
      return [{ severity: 'error', subject: 'network.subnet', message, hint: subnetHint(plan, facts) }];
    }
    return namedPrefixes(plan)
      .filter(({ cidr }) => contains(cidr, resolver))
      .map(({ subject, cidr }) => ({
        severity: 'warning',
        subject,
        message: `${networkOf(cidr)} holds the host's name server ${resolver}; the lab's machines cannot reach it`,
        hint: 'none needed: the machines have their own name server',
      }));
  });
}

/** What the lab made for itself is no conflict. */
function isOwn(plan: LabPlan, facts: HostFacts, dev: string | undefined): boolean {
  return facts.bridgeIsOurs && dev === plan.network.bridge;
}

/** Routes that are neither a default route nor the lab's own. */
function foreignRoutes(plan: LabPlan, facts: HostFacts): PlacedRoute[] {
  return facts.routes.flatMap((route) => {
    const cidr = parseCidr(route.dst.includes('/') ? route.dst : `${route.dst}/32`);
    // VPNs write a default route as two halves, 0.0.0.0/1 and 128.0.0.0/1.
    if (cidr === undefined || cidr.length <= 1 || isOwn(plan, facts, route.dev)) return [];
    return [{ ...route, cidr }];
  });
}

function describe({ dst, kind, dev }: HostRoute): string {
  if (kind === 'blocked') return `${dst} (blocked)`;
  return `${dst} (${kind === 'connected' ? 'connected' : 'through a gateway'}${dev === undefined ? '' : `, ${dev}`})`;
}

/** Names a /24 that the host does not use, where there is one. */
function subnetHint(plan: LabPlan, facts: HostFacts): string {
  const used = [
    ...foreignRoutes(plan, facts).map(({ cidr }) => cidr),
    ...namedPrefixes(plan).map(({ cidr }) => cidr),
    ...[...facts.addresses.map(({ address }) => address), ...facts.resolvers].map((address) => ({
      address,
      length: 32,
    })),
  ];
  const free = Array.from({ length: 255 }, (_, index) => ({
    address: `192.168.${index + 1}.0`,
    length: 24,
  })).find(
    (candidate) =>
      networkOf(candidate) !== plan.network.subnet && !used.some((cidr) => overlaps(cidr, candidate)),
  );
  if (free === undefined)
    return 'set network.subnet, network.host and the machine addresses to a network the host lacks';
  return `set network.subnet to ${networkOf(free)}, say, and move network.host and the machine addresses into it`;
}
