import type { EchoService } from '../endpoints.ts';
import { backendsOf } from './backends.ts';
import type { Machine } from './machine.ts';
import type { Packet } from './packet.ts';
import { matchesFor, NO_LOCAL_POD, usesExt } from './rules.ts';
import type { World } from './world.ts';

/** What kube-proxy's filter rules do with a new connection. */
export interface FilterVerdict {
  readonly action: 'reject' | 'drop';
  readonly chains: readonly string[];
  readonly text: string;
  readonly reason: string;
}

/**
 * KUBE-SERVICES (from FORWARD and OUTPUT, for ClusterIPs) and KUBE-EXTERNAL-SERVICES (from INPUT and FORWARD, for the
 * rest) of the filter table, and KUBE-FIREWALL, which drops what is marked (from INPUT and OUTPUT, not from FORWARD: seen
 * on Kubernetes 1.20.2).
 */
export function filter(
  world: World,
  machine: Machine,
  packet: Packet,
  hook: 'input' | 'forward' | 'output',
): FilterVerdict | undefined {
  if (packet.doomed !== undefined && hook !== 'forward')
    return {
      action: 'drop',
      chains: ['KUBE-FIREWALL'],
      text: 'what KUBE-MARK-DROP has marked is dropped',
      reason: packet.doomed,
    };
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
  return undefined;
}

const NO_INTERNAL_POD =
  '{at} has no ready pod of its own and drops the packet, because with internalTrafficPolicy Local a node uses its own pods only';

function nameOf({ namespace, name }: EchoService): string {
  return `${namespace}/${name}`;
}
