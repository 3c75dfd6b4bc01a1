import { inAny } from '../addresses.ts';
import type { Endpoint } from '../endpoints.ts';
import { type Backends, backendsOf, minorOf } from './backends.ts';
import { serviceChain } from './chain-names.ts';
import type { Machine } from './machine.ts';
import type { Packet } from './packet.ts';
import type { Match, World } from './world.ts';

/** What kube-proxy's nat rules of one node do with a new connection. */
export type NatVerdict =
  /** No rule for it. */
  | { readonly kind: 'none' }
  /** A rule that changes nothing but is worth telling: policy Local without a local endpoint. */
  | {
      readonly kind: 'left';
      /** Why KUBE-MARK-DROP marked it, as a clause about the machine {at}. */
      readonly dropReason?: string;
      readonly chains: readonly string[];
      readonly text: string;
    }
  | Translation
  | { readonly kind: 'unknown'; readonly reason: string };

export interface Translation {
  readonly kind: 'translate';
  readonly match: Match;
  readonly endpoints: readonly Endpoint[];
  readonly masquerade: boolean;
  /** The chains that the packet meets, up to the one that chooses. */
  readonly chains: readonly string[];
  readonly text: string;
  /** A clause about the machine {at}. */
  readonly reason: string;
}

/** XLB: Kubernetes up to 1.23. EXT: 1.24 and later (kubernetes PR 109060). */
const FIRST_EXT = 24;
/** Up to here the rules of spec.externalIPs leave out what the node itself sends. Seen on Kubernetes 1.20.2. */
const LAST_OFF_MACHINE_ONLY = 20;

/** Why a node without a ready pod of its own drops what it gets, as a clause about the machine {at}. */
export const NO_LOCAL_POD =
  '{at} has no ready pod of its own and drops the packet, because with externalTrafficPolicy Local a node answers from its own pods only';

const NONE: NatVerdict = { kind: 'none' };

/** KUBE-SERVICES of the nat table, which PREROUTING and OUTPUT jump to. */
export function translate(world: World, machine: Machine, packet: Packet): NatVerdict {
  const matches = matchesFor(world, machine, packet);
  if (matches.length === 0) return NONE;
  const reason = notModelled(world, machine, matches);
  if (reason !== undefined) return { kind: 'unknown', reason };
  let left = NONE;
  for (const match of matches) {
    const verdict = applyRules(world, machine, packet, match);
    if (verdict.kind === 'translate' || (verdict.kind === 'left' && verdict.dropReason !== undefined))
      return verdict;
    if (verdict.kind === 'left') left = verdict;
  }
  return left;
}

/** The rules for the address come first; what is addressed to the node itself then goes to KUBE-NODEPORTS. */
export function matchesFor(world: World, machine: Machine, packet: Packet): readonly Match[] {
  const { destination, port, protocol } = packet;
  const found = world.byAddress(destination, port, protocol);
  const nodePort = servesNodePort(world, machine, destination) ? world.byNodePort(port, protocol) : undefined;
  return nodePort === undefined ? found : [...found, nodePort];
}

function servesNodePort({ state: { proxy } }: World, machine: Machine, address: string): boolean {
  if (!machine.isOwn(address)) return false;
  if (address.startsWith('127.') && !(proxy.localhostNodePorts && machine.state.routeLocalnet)) return false;
  const { nodePortAddresses } = proxy;
  if (nodePortAddresses.length === 0) return true;
  if (nodePortAddresses.includes('primary')) return machine.node?.addresses[0] === address;
  return inAny(nodePortAddresses, address);
}

/** Why the rules that would apply are not known here. */
function notModelled({ state: { proxy } }: World, machine: Machine, matches: readonly Match[]) {
  if (proxy.problem !== undefined) return proxy.problem;
  if (proxy.mode !== 'iptables') return `kube-proxy in ${proxy.mode} mode is not modelled, only iptables`;
  if (!['ClusterCIDR', 'NodeCIDR'].includes(proxy.detectLocalMode))
    return `kube-proxy's detectLocalMode ${proxy.detectLocalMode} is not modelled`;
  const minor = minorOf(machine);
  if (minor === undefined)
    return `kube-proxy ${machine.node?.proxyVersion} on ${machine.name} is not modelled`;
  const isBetween = minor > LAST_OFF_MACHINE_ONLY && minor < FIRST_EXT;
  if (isBetween && matches.some(({ role }) => role === 'external-ip'))
    return `the rules for external addresses of Kubernetes 1.21 to 1.23 are not modelled (${machine.name})`;
  if (isBetween && matches.some(({ service }) => service.internalPolicy === 'Local'))
    return `internalTrafficPolicy of Kubernetes 1.21 to 1.23 is not modelled (${machine.name})`;
  return undefined;
}

function applyRules(world: World, machine: Machine, packet: Packet, match: Match): NatVerdict {
  const { service, port, role } = match;
  const backends = backendsOf(world, service, port, machine);
  if (backends.all.length === 0 && backends.local.length === 0) return NONE;
  if (role === 'cluster-ip') return clusterIp(world, machine, packet, match, backends);
  const first = role === 'node-port' ? ['KUBE-SERVICES', 'KUBE-NODEPORTS'] : ['KUBE-SERVICES'];
  if (role === 'load-balancer-ip' && service.sourceRanges.length > 0) {
    if (!inAny(service.sourceRanges, packet.source))
      return {
        kind: 'left',
        dropReason: '{at} drops the packet, because the source is in none of the loadBalancerSourceRanges',
        chains: [...first, serviceChain('FW', service, port), 'KUBE-MARK-DROP'],
        text: `${packet.source} is in none of the service's loadBalancerSourceRanges`,
      };
    first.push(serviceChain('FW', service, port));
  }
  return usesExt(machine)
    ? external(world, machine, packet, match, backends, [...first, serviceChain('EXT', service, port)])
    : externalBefore124(world, machine, packet, match, backends, first);
}

/** True for Kubernetes 1.24 and later. */
export function usesExt(machine: Machine): boolean {
  return (minorOf(machine) ?? 0) >= FIRST_EXT;
}

function clusterIp(
  world: World,
  machine: Machine,
  packet: Packet,
  match: Match,
  backends: Backends,
): NatVerdict {
  const { service, port } = match;
  const isLocal = usesExt(machine) && service.internalPolicy === 'Local';
  const endpoints = isLocal ? backends.local : backends.all;
  // Dropped by the filter table.
  if (endpoints.length === 0) return NONE;
  const { masqueradeAll, clusterCidr } = world.state.proxy;
  const fromPod = isPodSource(world, machine, packet.source);
  const masquerade = masqueradeAll || (clusterCidr !== undefined && !fromPod);
  const chain = serviceChain(isLocal ? 'SVL' : 'SVC', service, port);
  // 1.20 marks in KUBE-SERVICES, later versions in the service's own chain (kubernetes PR 96959).
  const marked =
    minorOf(machine) === LAST_OFF_MACHINE_ONLY ? ['KUBE-MARK-MASQ', chain] : [chain, 'KUBE-MARK-MASQ'];
  const which = isLocal ? 'one of its own ready pods (internalTrafficPolicy Local)' : 'any ready pod';
  const why = masqueradeAll
    ? 'masquerades with its own address, because masqueradeAll is set'
    : masquerade
      ? 'masquerades with its own address, because the source is no pod'
      : clusterCidr === undefined
        ? 'keeps the source address, because kube-proxy knows no clusterCIDR'
        : `keeps the pod's source address`;
  return {
    kind: 'translate',
    match,
    endpoints,
    masquerade,
    chains: ['KUBE-SERVICES', ...(masquerade ? marked : [chain])],
    text: masquerade ? `the source is not in ${clusterCidr ?? 'a pod network'}: marked for masquerading` : '',
    reason: `{at} picks ${which} and ${why}`,
  };
}

/** KUBE-EXT: node ports, external IPs and load balancer addresses alike. Kubernetes 1.24 and later. Not seen in the lab. */
function external(
  world: World,
  machine: Machine,
  packet: Packet,
  match: Match,
  backends: Backends,
  first: readonly string[],
): NatVerdict {
  const svc = serviceChain('SVC', match.service, match.port);
  if (match.service.policy === 'Cluster')
    return clusterPolicy(match, backends, [...first, 'KUBE-MARK-MASQ', svc]);
  const inside = fromInside(world, machine, packet, match, backends, first, svc);
  if (inside !== undefined) return inside;
  if (backends.local.length === 0)
    return {
      kind: 'left',
      chains: first,
      text: 'no local endpoint, so KUBE-EXT has no rule for it',
    };
  return localPolicy(match, backends, [...first, serviceChain('SVL', match.service, match.port)]);
}

/** Kubernetes up to 1.23: KUBE-XLB for policy Local, and rules of each kind of address. Seen on Kubernetes 1.20.2. */
function externalBefore124(
  world: World,
  machine: Machine,
  packet: Packet,
  match: Match,
  backends: Backends,
  first: readonly string[],
): NatVerdict {
  const { service, port, role } = match;
  const svc = serviceChain('SVC', service, port);
  // "-m addrtype ! --src-type LOCAL", and a second rule for addresses that the node has itself.
  if (role === 'external-ip' && machine.isOwn(packet.source) && !machine.isOwn(packet.destination))
    return {
      kind: 'left',
      chains: ['KUBE-SERVICES'],
      text: `the rule for external addresses leaves out what ${machine.name} itself sends (! --src-type LOCAL)`,
    };
  const before =
    role === 'load-balancer-ip' && service.sourceRanges.length === 0
      ? [...first, serviceChain('FW', service, port)]
      : first;
  if (service.policy === 'Cluster') return clusterPolicy(match, backends, [...before, 'KUBE-MARK-MASQ', svc]);
  const xlb = serviceChain('XLB', service, port);
  const inside = fromInside(world, machine, packet, match, backends, [...before, xlb], svc);
  if (inside !== undefined) return inside;
  if (backends.local.length === 0)
    return {
      kind: 'left',
      dropReason: NO_LOCAL_POD,
      chains: [...before, xlb, 'KUBE-MARK-DROP'],
      text: 'no local endpoints: marked to be dropped',
    };
  return localPolicy(match, backends, [...before, xlb]);
}

function clusterPolicy(match: Match, backends: Backends, chains: readonly string[]): NatVerdict {
  if (backends.all.length === 0) return NONE;
  return {
    kind: 'translate',
    match,
    endpoints: backends.all,
    masquerade: true,
    chains,
    text: 'externalTrafficPolicy Cluster: all external traffic is marked for masquerading',
    reason: `{at} picks any ready pod on any node and masquerades with its own address, also for its own pods and processes (externalTrafficPolicy Cluster)`,
  };
}

/** The first rules of KUBE-XLB and KUBE-EXT: pods, then the node itself, before any choice of a local endpoint. */
function fromInside(
  world: World,
  machine: Machine,
  packet: Packet,
  match: Match,
  backends: Backends,
  before: readonly string[],
  svc: string,
): NatVerdict | undefined {
  if (backends.all.length === 0) return undefined;
  const common = { kind: 'translate' as const, match, endpoints: backends.all };
  if (world.state.proxy.clusterCidr !== undefined && isPodSource(world, machine, packet.source))
    return {
      ...common,
      masquerade: false,
      chains: [...before, svc],
      text: 'pods are led to the ClusterIP',
      reason: '{at} treats its own pods like clients of the ClusterIP: any ready pod, source address kept',
    };
  if (machine.isOwn(packet.source))
    return {
      ...common,
      masquerade: true,
      chains: [...before, 'KUBE-MARK-MASQ', svc],
      text: `LOCAL traffic is led to the ClusterIP and marked for masquerading`,
      reason:
        '{at} treats its own processes like clients of the ClusterIP: any ready pod, masqueraded with its own address',
    };
  return undefined;
}

function localPolicy(match: Match, backends: Backends, chains: readonly string[]): NatVerdict {
  return {
    kind: 'translate',
    match,
    endpoints: backends.local,
    masquerade: false,
    chains,
    text: 'externalTrafficPolicy Local: local endpoints only, the source stays',
    reason: `{at} answers from its own ready pods only and keeps the client's address (externalTrafficPolicy Local)`,
  };
}

/** What kube-proxy takes for a pod of the cluster. */
function isPodSource({ state: { proxy } }: World, machine: Machine, source: string): boolean {
  if (proxy.detectLocalMode === 'NodeCIDR') return inAny(machine.node?.podCidrs ?? [], source);
  return inAny(proxy.clusterCidr?.split(',') ?? [], source);
}
