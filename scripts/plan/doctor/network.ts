import { type Cidr, contains, networkOf, overlaps, parseCidr } from '../../shared/ip.ts';
import { checkedCidr, namedPrefixes } from '../addressing.ts';
import { findsAddresses } from '../found.ts';
import type { HostFacts, HostProblem, HostRoute, OtherLab } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, skipped, unseen, warned } from './check.ts';

const LOOK = 'ip route; ip addr   (compare them with lab.yaml)';

/** Whether the name of the lab's bridge is free, or the bridge the lab's own. */
export function judgeBridge(plan: LabPlan, facts: HostFacts): HostFinding {
  const { bridge } = plan.network;
  if (facts.unseen.network !== undefined) return unseen('the links', facts.unseen.network, LOOK);
  if (!facts.links.includes(bridge)) return { found: `${bridge} is free` };
  if (facts.bridgeIsOurs) return { found: `${bridge} is this lab's` };
  const message = `the host already has an interface ${bridge}, which does not belong to this lab`;
  const hint = 'set network.bridge to another name, or run labdown for the lab it belongs to';
  return { found: message, problems: [{ severity: 'error', subject: 'network.bridge', message, hint }] };
}

/**
 * Whether the host's rules leave alone what machines send each other. With br_netfilter they see packets that only cross a
 * bridge. Docker sets the policy of FORWARD to DROP, and nothing then lets the lab's bridge pass. Multipass' rule masquerades
 * all that comes from its network and is not for it (firewall_config.cpp of canonical/multipass), which is also what one
 * machine sends another for a lab prefix.
 */
export function judgeBridgeNetfilter(plan: LabPlan, facts: HostFacts): HostFinding {
  if (!facts.bridgeNetfilter) return { found: "bridged packets do not pass the host's rules" };
  const off = 'sudo sysctl -w net.bridge.bridge-nf-call-iptables=0   (Docker may have switched it on)';
  if (facts.dropsForwarded) {
    const { bridge } = plan.network;
    const message =
      "bridged packets pass this host's rules (br_netfilter), and its FORWARD chain drops what no rule accepts: machines will not reach each other";
    return warned(
      "bridged packets are dropped by the host's rules",
      message,
      `${off}, or: sudo iptables -I FORWARD -i ${bridge} -o ${bridge} -j ACCEPT`,
    );
  }
  if (!findsAddresses(plan))
    return { found: "bridged packets pass the host's rules, which do not drop them" };
  const message =
    "bridged packets pass this host's NAT rules (br_netfilter), which give machines' traffic for lab prefixes the host's address";
  return warned(
    'bridged packets pass the NAT rules',
    message,
    `${off}, or set multipass.network.mode to static`,
  );
}

/** Whether the lab's subnet is free. */
export function judgeSubnet(plan: LabPlan, facts: HostFacts): HostFinding {
  if (findsAddresses(plan)) return skipped('it is the network that Multipass gives its machines');
  if (facts.unseen.network !== undefined) return unseen('the routes', facts.unseen.network, LOOK);
  const { subnet } = plan.network;
  const problems = subnetOverlaps(plan, facts);
  return { found: problems.length === 0 ? `${subnet} is free` : `${subnet} is not free`, problems };
}

/** Whether the host has networks behind the prefixes that only the lab's machines use. */
export function judgePrefixes(plan: LabPlan, facts: HostFacts): HostFinding {
  if (facts.unseen.network !== undefined) return unseen('the routes', facts.unseen.network, LOOK);
  const problems = prefixOverlaps(plan, facts);
  const { podCidr, serviceCidr } = plan.kubernetes;
  const all = [podCidr, serviceCidr, ...plan.bgp.externalPrefixes, ...plan.bgp.routerPrefixes];
  return { found: `${all.join(', ')}: ${problems.length === 0 ? 'no' : 'some'} host route`, problems };
}

/** Whether the host's name servers stay reachable. */
export function judgeResolvers(plan: LabPlan, facts: HostFacts): HostFinding {
  return {
    found: facts.resolvers.join(', ') || 'no IPv4 name server',
    problems: resolverOverlaps(plan, facts),
  };
}

/** Whether a tunnel takes all of the host's traffic: the software behind it may filter local networks too. */
export function judgeVpn(_plan: LabPlan, facts: HostFacts): HostFinding {
  if (facts.unseen.network !== undefined) return unseen('the links', facts.unseen.network, LOOK);
  const { tunnels, routes } = facts;
  if (tunnels.length === 0) return { found: 'none' };
  const takesAll = (name: string) => {
    const own = routes.filter(({ dev }) => dev === name).map(({ dst }) => dst);
    // In one piece, or in two halves that leave the old default route alone.
    return own.includes('default') || (own.includes('0.0.0.0/1') && own.includes('128.0.0.0/1'));
  };
  const all = tunnels.filter(takesAll);
  if (all.length === 0) return { found: `${tunnels.join(', ')}, for some networks` };
  const message = `${all.join(', ')} takes all traffic of the host; its VPN client may also keep the host from the machines`;
  const hint = 'disconnect it, or allow local networks in it, if machines do not answer';
  return warned(`${all.join(', ')} takes all traffic`, message, hint);
}

/** Whether another lab of this host has this one's bridge or subnet, also while its bridge does not exist. */
export function judgeOtherLabs(plan: LabPlan, facts: HostFacts): HostFinding {
  if (facts.unseen['other labs'] !== undefined) {
    return skipped(facts.unseen['other labs']);
  }
  const problems = facts.otherLabs.flatMap((other) => collision(plan, other));
  const names = facts.otherLabs.map(({ lab, bridge, subnet }) => {
    return `${lab} (${[bridge, subnet].filter((part) => part !== undefined).join(', ')})`;
  });
  return { found: names.join('; ') || 'none', problems };
}

function collision(plan: LabPlan, { lab, bridge, subnet }: OtherLab): HostProblem[] {
  const hint = `npx labdown --yes --name ${lab}   (removes that lab), or change lab.yaml`;
  if (bridge === plan.network.bridge) {
    const message = `the bridge ${bridge} belongs to lab "${lab}"`;
    return [{ severity: 'error', subject: 'network.bridge', message, hint }];
  }
  const theirs = subnet === undefined ? undefined : parseCidr(subnet);
  if (theirs === undefined || !overlaps(theirs, checkedCidr(plan.network.subnet))) return [];
  const message = `${plan.network.subnet} overlaps the subnet ${subnet} of lab "${lab}"`;
  return [{ severity: 'error', subject: 'network.subnet', message, hint }];
}

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
