import { inAny } from '../addresses.ts';
import type { EchoService } from '../endpoints.ts';
import { backendsOf } from './backends.ts';
import { NO_LOCAL_POD, NONE } from './service-rules.ts';
import type { FilterVerdict, KubeProxy, Machine, Match, NatVerdict, NetworkState, Packet } from './types.ts';

/** KUBE-SERVICES of the nat table, which PREROUTING and OUTPUT jump to. */
export function translate(network: NetworkState, machine: Machine, packet: Packet): NatVerdict {
  const { kubeProxy } = machine;
  const matches = matchesFor(network, machine, packet);
  if (kubeProxy === undefined || matches.length === 0) return NONE;
  const reason = kubeProxy.problemWith(matches);
  if (reason !== undefined) return { kind: 'unknown', reason, matches };
  let left = NONE;
  for (const match of matches) {
    const verdict = translateBy(network, machine, kubeProxy, packet, match);
    if (verdict.kind === 'translate' || (verdict.kind === 'left' && verdict.dropReason !== undefined))
      return verdict;
    if (verdict.kind === 'left') left = verdict;
  }
  return left;
}

/** The rules for the address come first; what is addressed to the node itself then goes to KUBE-NODEPORTS. */
function matchesFor(network: NetworkState, machine: Machine, packet: Packet): readonly Match[] {
  const { destination, port, protocol } = packet;
  const found = network.byAddress(destination, port, protocol);
  const nodePort = servesNodePort(network, machine, destination)
    ? network.byNodePort(port, protocol)
    : undefined;
  return nodePort === undefined ? found : [...found, nodePort];
}

function servesNodePort({ state: { proxy } }: NetworkState, machine: Machine, address: string): boolean {
  if (!machine.isOwn(address)) return false;
  if (address.startsWith('127.') && !(proxy.localhostNodePorts && machine.state.routeLocalnet)) return false;
  return machine.kubeProxy?.servesNodePortsOn(address) === true;
}

function translateBy(
  network: NetworkState,
  machine: Machine,
  kubeProxy: KubeProxy,
  packet: Packet,
  match: Match,
): NatVerdict {
  const { service, port, role } = match;
  const backends = backendsOf(network, service, port, machine);
  if (backends.all.length === 0 && backends.local.length === 0) return NONE;
  const call = { network, machine, kubeProxy, packet, match, backends };
  if (role === 'cluster-ip') return kubeProxy.rules.clusterIp(call);
  const first = role === 'node-port' ? ['KUBE-SERVICES', 'KUBE-NODEPORTS'] : ['KUBE-SERVICES'];
  if (role !== 'load-balancer-ip' || service.sourceRanges.length === 0)
    return kubeProxy.rules.external(call, first);
  const chains = [...first, match.chain('FW')];
  if (inAny(service.sourceRanges, packet.source)) return kubeProxy.rules.external(call, chains);
  return {
    kind: 'left',
    dropReason: '{at} drops the packet, because the source is in none of the loadBalancerSourceRanges',
    chains: [...chains, 'KUBE-MARK-DROP'],
    text: `${packet.source} is in none of the service's loadBalancerSourceRanges`,
  };
}

/**
 * KUBE-SERVICES (from FORWARD and OUTPUT, for ClusterIPs) and KUBE-EXTERNAL-SERVICES (from INPUT and FORWARD, for the
 * rest) of the filter table, and KUBE-FIREWALL, which drops what is marked (from INPUT and OUTPUT, not from FORWARD: seen
 * on Kubernetes 1.20.2). Where Calico is, its chain against service addresses that go round, from FORWARD, and its decision
 * about what pods send to their own node, from INPUT; its policies accept everything, as long as nobody has made one.
 */
export function filter(
  network: NetworkState,
  machine: Machine,
  packet: Packet,
  hook: 'input' | 'forward' | 'output',
): FilterVerdict | undefined {
  const { kubeProxy } = machine;
  if (kubeProxy === undefined) return undefined;
  const { podsToHost } = machine.state;
  if (hook === 'input' && podsToHost !== undefined && network.nodeOf(packet.source) === machine.name)
    return podsToHost === 'accept' ? undefined : TO_HOST_DROP;
  if (packet.dropReason !== undefined && hook !== 'forward')
    return {
      action: 'drop',
      chains: ['KUBE-FIREWALL'],
      text: 'what KUBE-MARK-DROP has marked is dropped',
      reason: packet.dropReason,
    };
  const loop = hook === 'forward' ? looping(machine, packet) : undefined;
  if (machine.state.serviceLoop?.isFirst === true && loop !== undefined) return loop;
  for (const match of matchesFor(network, machine, packet)) {
    const { service, port, role } = match;
    const isClusterIp = role === 'cluster-ip';
    if (hook === (isClusterIp ? 'input' : 'output')) continue;
    const chains = [isClusterIp ? 'KUBE-SERVICES' : 'KUBE-EXTERNAL-SERVICES'];
    const { all, local } = backendsOf(network, service, port, machine);
    if (all.length === 0 && local.length === 0)
      return {
        action: 'reject',
        chains,
        match,
        text: `${nameOf(service)} has no endpoints: REJECT with icmp-port-unreachable`,
        reason: 'the service has no ready pod, so {at} rejects the connection',
      };
    if (!kubeProxy.rules.hasLocalDrops || local.length > 0) continue;
    if ((isClusterIp ? service.internalPolicy : service.policy) === 'Local')
      return {
        action: 'drop',
        chains,
        match,
        text: `${nameOf(service)} has no local endpoints: DROP`,
        reason: isClusterIp ? NO_INTERNAL_POD : NO_LOCAL_POD,
      };
  }
  return loop;
}

/** felix' cali-cidr-block, which ends what would go round between node and router. */
function looping({ state: { serviceLoop } }: Machine, { destination }: Packet): FilterVerdict | undefined {
  if (serviceLoop === undefined || !inAny(serviceLoop.prefixes, destination)) return undefined;
  const { action } = serviceLoop;
  return {
    action,
    chains: ['cali-FORWARD', 'cali-cidr-block'],
    text: `${destination} is a service address that nothing has translated: ${action.toUpperCase()}`,
    reason: `nothing on {at} translates this service address, and Calico ${action}s it before it goes round`,
  };
}

const TO_HOST_DROP: FilterVerdict = {
  action: 'drop',
  chains: ['cali-INPUT', 'cali-wl-to-host'],
  text: "DefaultEndpointToHostAction: what this node's pods send to the node itself is dropped",
  reason: '{at} drops what its own pods send to it (defaultEndpointToHostAction Drop)',
};

const NO_INTERNAL_POD =
  '{at} has no ready pod of its own and drops the packet, because with internalTrafficPolicy Local a node uses its own pods only';

function nameOf({ namespace, name }: EchoService): string {
  return `${namespace}/${name}`;
}
