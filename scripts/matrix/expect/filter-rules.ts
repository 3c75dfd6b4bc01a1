import { inAny } from '../addresses.ts';
import type { EchoService } from '../endpoints.ts';
import { backendsOf } from './backends.ts';
import type { Machine } from './machine.ts';
import type { Packet } from './packet.ts';
import { matchesFor, NO_LOCAL_POD, usesExt } from './rules.ts';
import type { World } from './world.ts';

/** What filter rules do with a new connection. */
export interface FilterVerdict {
  readonly action: 'reject' | 'drop';
  readonly chains: readonly string[];
  readonly text: string;
  readonly reason: string;
}

/**
 * KUBE-SERVICES (from FORWARD and OUTPUT, for ClusterIPs) and KUBE-EXTERNAL-SERVICES (from INPUT and FORWARD, for the
 * rest) of the filter table, and KUBE-FIREWALL, which drops what is marked (from INPUT and OUTPUT, not from FORWARD: seen
 * on Kubernetes 1.20.2). Where Calico is, its chain against service addresses that go round, from FORWARD, and its decision
 * about what pods send to their own node, from INPUT; its policies accept everything, as long as nobody has made one.
 */
export function filter(
  world: World,
  machine: Machine,
  packet: Packet,
  hook: 'input' | 'forward' | 'output',
): FilterVerdict | undefined {
  const { podsToHost } = machine.state;
  if (hook === 'input' && podsToHost !== undefined && world.nodeOf(packet.source) === machine.name)
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
  for (const match of matchesFor(world, machine, packet)) {
    const { service, port, role } = match;
    const isClusterIp = role === 'cluster-ip';
    if (hook === (isClusterIp ? 'input' : 'output')) continue;
    const chains = [isClusterIp ? 'KUBE-SERVICES' : 'KUBE-EXTERNAL-SERVICES'];
    const { all, local } = backendsOf(world, service, port, machine);
    if (all.length === 0 && local.length === 0)
      return {
        action: 'reject',
        chains,
        text: `${nameOf(service)} has no endpoints: REJECT with icmp-port-unreachable`,
        reason: 'the service has no ready pod, so {at} rejects the connection',
      };
    if (!usesExt(machine) || local.length > 0) continue;
    if ((isClusterIp ? service.internalPolicy : service.policy) === 'Local')
      return {
        action: 'drop',
        chains,
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
