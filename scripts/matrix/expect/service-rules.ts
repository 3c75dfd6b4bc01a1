import type { Backends, NatVerdict, RuleCall } from './types.ts';

export const NONE: NatVerdict = { kind: 'none' };

/** Why a node without a ready pod of its own drops what it gets, as a clause about the machine {at}. */
export const NO_LOCAL_POD =
  '{at} has no ready pod of its own and drops the packet, because with externalTrafficPolicy Local a node answers from its own pods only';

/** To one of the endpoints of a ClusterIP. `marked`: the chains with KUBE-MARK-MASQ, which are as long as the packet is masqueraded. */
export function toClusterIp(
  { network, kubeProxy, packet, match, backends }: RuleCall,
  scope: keyof Backends,
  chain: string,
  marked: readonly string[],
): NatVerdict {
  const endpoints = backends[scope];
  // Dropped by the filter table.
  if (endpoints.length === 0) return NONE;
  const { masqueradeAll, clusterCidr } = network.state.proxy;
  const masquerade = masqueradeAll || (clusterCidr !== undefined && !kubeProxy.isPod(packet.source));
  const which =
    scope === 'local' ? 'one of its own ready pods (internalTrafficPolicy Local)' : 'any ready pod';
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
    scope,
    endpoints,
    masquerade,
    chains: ['KUBE-SERVICES', ...(masquerade ? marked : [chain])],
    text: masquerade ? `the source is not in ${clusterCidr ?? 'a pod network'}: marked for masquerading` : '',
    reason: `{at} picks ${which} and ${why}`,
  };
}

/** externalTrafficPolicy Cluster. */
export function clusterPolicy({ match, backends }: RuleCall, before: readonly string[]): NatVerdict {
  if (backends.all.length === 0) return NONE;
  return {
    kind: 'translate',
    match,
    scope: 'all',
    endpoints: backends.all,
    masquerade: true,
    chains: [...before, 'KUBE-MARK-MASQ', match.chain('SVC')],
    text: 'externalTrafficPolicy Cluster: all external traffic is marked for masquerading',
    reason: `{at} picks any ready pod on any node and masquerades with its own address, also for its own pods and processes (externalTrafficPolicy Cluster)`,
  };
}

/** The first rules of policy Local: pods, then the node itself, before any choice of a local endpoint. */
export function fromInside(
  { network, machine, kubeProxy, packet, match, backends }: RuleCall,
  before: readonly string[],
): NatVerdict | undefined {
  if (backends.all.length === 0) return undefined;
  const common = { kind: 'translate' as const, match, scope: 'all' as const, endpoints: backends.all };
  if (network.state.proxy.clusterCidr !== undefined && kubeProxy.isPod(packet.source))
    return {
      ...common,
      masquerade: false,
      chains: [...before, match.chain('SVC')],
      text: 'pods are led to the ClusterIP',
      reason: '{at} treats its own pods like clients of the ClusterIP: any ready pod, source address kept',
    };
  if (machine.isOwn(packet.source))
    return {
      ...common,
      masquerade: true,
      chains: [...before, 'KUBE-MARK-MASQ', match.chain('SVC')],
      text: `LOCAL traffic is led to the ClusterIP and marked for masquerading`,
      reason:
        '{at} treats its own processes like clients of the ClusterIP: any ready pod, masqueraded with its own address',
    };
  return undefined;
}

/** externalTrafficPolicy Local, for what comes from outside. */
export function localPolicy({ match, backends }: RuleCall, chains: readonly string[]): NatVerdict {
  return {
    kind: 'translate',
    match,
    scope: 'local',
    endpoints: backends.local,
    masquerade: false,
    chains,
    text: 'externalTrafficPolicy Local: local endpoints only, the source stays',
    reason: `{at} answers from its own ready pods only and keeps the client's address (externalTrafficPolicy Local)`,
  };
}
