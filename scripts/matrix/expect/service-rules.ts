import { bareName } from '../endpoints.ts';
import type { Backends, FilterVerdict, Match, NatVerdict, RuleCall, Translation } from './types.ts';

export const NONE: NatVerdict = { kind: 'none' };

/** Why a node without a ready pod of its own drops what it gets, as a clause about the machine {at}. */
export const NO_LOCAL_POD =
  '{at} has no ready pod of its own and drops the packet, because with externalTrafficPolicy Local a node answers from its own pods only';

/** The same of a ClusterIP. */
const NO_INTERNAL_POD =
  '{at} has no ready pod of its own and drops the packet, because with internalTrafficPolicy Local a node uses its own pods only';

/** The same of who is not named by a load balancer's ranges. */
export const NO_RANGE =
  '{at} drops the packet, because the source is in none of the loadBalancerSourceRanges';

/** To one of the endpoints of a ClusterIP. `chains`: those that it meets, if it is marked for masquerading or if not. */
export function toClusterIp(
  call: RuleCall,
  scope: keyof Backends,
  chains: (isMarked: boolean) => readonly string[],
): NatVerdict {
  const { kubeProxy, network, packet, backends } = call;
  // Dropped by the filter table.
  if (backends[scope].length === 0) return NONE;
  const { masqueradesAll, isDetecting } = kubeProxy;
  const masquerade = masqueradesAll || (isDetecting && !kubeProxy.isPod(packet.source));
  const which =
    scope === 'local' ? 'one of its own ready pods (internalTrafficPolicy Local)' : 'any ready pod';
  const why = masqueradesAll
    ? 'masquerades with its own address, because masqueradeAll is set'
    : masquerade
      ? 'masquerades with its own address, because the source is no pod'
      : isDetecting
        ? `keeps the pod's source address`
        : 'keeps the source address, because kube-proxy knows no clusterCIDR';
  const { clusterCidr } = network.state.proxy;
  return toOneOf(call, scope, {
    masquerade,
    chains: chains(masquerade),
    text: masquerade ? `the source is not in ${clusterCidr ?? 'a pod network'}: marked for masquerading` : '',
    reason: `{at} picks ${which} and ${why}`,
  });
}

function toOneOf(
  { match, names, backends }: RuleCall,
  scope: keyof Backends,
  how: Pick<Translation, 'masquerade' | 'chains' | 'text' | 'reason'>,
): Translation {
  return { kind: 'translate', match, names, scope, endpoints: backends[scope], ...how };
}

/** Since Kubernetes 1.24, whatever the rules are: what comes for a service from outside. */
export function toExternal(call: RuleCall, before: readonly string[], mark: readonly string[]): NatVerdict {
  const { match, names, backends } = call;
  if (match.service.policy === 'Cluster') return clusterPolicy(call, before, mark);
  const inside = fromInside(call, before, mark);
  if (inside !== undefined) return inside;
  if (backends.local.length > 0) return localPolicy(call, [...before, names.local]);
  return {
    kind: 'left',
    chains: before,
    missing: names.local,
    text: `no local endpoint, so ${names.external.replace(/^(KUBE-EXT)-.*/, '$1')} has no rule for it`,
  };
}

/** externalTrafficPolicy Cluster. */
export function clusterPolicy(
  call: RuleCall,
  before: readonly string[],
  mark: readonly string[],
): NatVerdict {
  if (call.backends.all.length === 0) return NONE;
  return toOneOf(call, 'all', {
    masquerade: true,
    chains: [...before, ...mark, call.names.all],
    text: 'externalTrafficPolicy Cluster: all external traffic is marked for masquerading',
    reason: `{at} picks any ready pod on any node and masquerades with its own address, also for its own pods and processes (externalTrafficPolicy Cluster)`,
  });
}

/** The first rules of policy Local: pods, then the node itself, before any choice of a local endpoint. */
export function fromInside(
  call: RuleCall,
  before: readonly string[],
  mark: readonly string[],
): NatVerdict | undefined {
  const { machine, kubeProxy, packet, names, backends } = call;
  if (backends.all.length === 0) return undefined;
  if (kubeProxy.isDetecting && kubeProxy.isPod(packet.source))
    return toOneOf(call, 'all', {
      masquerade: false,
      chains: [...before, names.all],
      text: 'pods are led to the ClusterIP',
      reason: '{at} treats its own pods like clients of the ClusterIP: any ready pod, source address kept',
    });
  if (machine.isOwn(packet.source))
    return toOneOf(call, 'all', {
      masquerade: true,
      chains: [...before, ...mark, names.all],
      text: `LOCAL traffic is led to the ClusterIP and marked for masquerading`,
      reason:
        '{at} treats its own processes like clients of the ClusterIP: any ready pod, masqueraded with its own address',
    });
  return undefined;
}

/** externalTrafficPolicy Local, for what comes from outside. */
export function localPolicy(call: RuleCall, chains: readonly string[]): NatVerdict {
  return toOneOf(call, 'local', {
    masquerade: false,
    chains,
    text: 'externalTrafficPolicy Local: local endpoints only, the source stays',
    reason: `{at} answers from its own ready pods only and keeps the client's address (externalTrafficPolicy Local)`,
  });
}

/** What becomes of a packet for a service port without endpoints; with `hasLocalDrops` also without local ones, where a policy asks for these. */
export function noEndpointsVerdict(
  match: Match,
  { all, local }: Backends,
  chains: readonly string[],
  hasLocalDrops: boolean,
): FilterVerdict | undefined {
  const { service, role } = match;
  const name = `${service.namespace}/${bareName(service.name)}`;
  if (all.length === 0 && local.length === 0)
    return {
      action: 'reject',
      chains,
      match,
      text: `${name} has no endpoints: REJECT with icmp-port-unreachable`,
      reason: 'the service has no ready pod, so {at} rejects the connection',
    };
  const isClusterIp = role === 'cluster-ip';
  const policy = isClusterIp ? service.internalPolicy : service.policy;
  if (!hasLocalDrops || local.length > 0 || policy !== 'Local') return undefined;
  return {
    action: 'drop',
    chains,
    match,
    text: `${name} has no local endpoints: DROP`,
    reason: isClusterIp ? NO_INTERNAL_POD : NO_LOCAL_POD,
  };
}
