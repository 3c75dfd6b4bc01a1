import { inAny } from '../addresses.ts';
import { backendsOf } from './backends.ts';
import { NO_RANGE, NONE, noEndpointsVerdict } from './service-rules.ts';
import type {
  FilterVerdict,
  Hook,
  LaterDrop,
  Match,
  NatVerdict,
  NodeCall,
  RuleCall,
  ServiceRules,
} from './types.ts';

/** What differs between the generations of kube-proxy's iptables rules. */
export interface Generation extends Pick<ServiceRules, 'names' | 'hasLocalDrops'> {
  /** The rules for a ClusterIP. */
  clusterIp(call: RuleCall): NatVerdict;
  /** The rules for all other addresses of a service. `before`: the chains up to them. */
  external(call: RuleCall, before: readonly string[]): NatVerdict;
  /** What KUBE-FW lets nobody else pass by; undefined where it only marks what has to be dropped (MARKED). */
  readonly firewallChain?: string;
}

/** What KUBE-MARK-DROP has marked is dropped in INPUT and OUTPUT, not in FORWARD: seen on Kubernetes 1.20.2. */
export function marked(reason: string): LaterDrop {
  const text = 'what KUBE-MARK-DROP has marked is dropped';
  return { verdict: { action: 'drop', chains: ['KUBE-FIREWALL'], text, reason }, isForwardedToo: false };
}

/** One generation of rules in iptables: KUBE-SERVICES of the nat table, and the filter table. */
export function iptables(generation: Generation): ServiceRules {
  return {
    names: generation.names,
    hasLocalDrops: generation.hasLocalDrops,
    sharesChains: true,
    masquerading: { marked: 'KUBE-POSTROUTING', hairpin: 'KUBE-SEP -s ITSELF' },
    translate: (call) => translate(generation, call),
    filter: (call, hook) => filter(generation, call, hook),
  };
}

/** The rules for the address come first; what is addressed to the node itself then goes to KUBE-NODEPORTS. */
function translate(generation: Generation, call: NodeCall): NatVerdict {
  const { matches, nodePort, kubeProxy, packet } = call;
  const isServed = nodePort !== undefined && kubeProxy.servesNodePortsOn(packet.destination);
  let left = NONE;
  for (const match of isServed ? [...matches, nodePort] : matches) {
    const verdict = translateBy(generation, call, match);
    // A packet that is marked to be dropped is dropped, whatever comes next.
    if (verdict.kind === 'translate' || (verdict.kind === 'left' && verdict.drop?.isForwardedToo === false))
      return verdict;
    if (verdict.kind === 'left' && !(left.kind === 'left' && left.drop !== undefined)) left = verdict;
  }
  return left;
}

function translateBy(
  generation: Generation,
  { network, machine, kubeProxy, packet }: NodeCall,
  match: Match,
): NatVerdict {
  const { service, port, role } = match;
  const backends = backendsOf(network, service, port, machine);
  if (backends.all.length === 0 && backends.local.length === 0) return NONE;
  const names = match.names(kubeProxy.rules);
  const rule = { network, machine, kubeProxy, packet, match, names, backends };
  if (role === 'cluster-ip') return generation.clusterIp(rule);
  const first = role === 'node-port' ? ['KUBE-SERVICES', 'KUBE-NODEPORTS'] : ['KUBE-SERVICES'];
  if (role !== 'load-balancer-ip' || service.sourceRanges.length === 0)
    return generation.external(rule, first);
  const chains = [...first, names.firewall];
  const { source } = packet;
  if (inAny(service.sourceRanges, source)) return generation.external(rule, chains);
  const text = `${source} is in none of the service's loadBalancerSourceRanges`;
  const { firewallChain } = generation;
  if (firewallChain === undefined)
    return { kind: 'left', drop: marked(NO_RANGE), chains: [...chains, 'KUBE-MARK-DROP'], text };
  const verdict: FilterVerdict = {
    action: 'drop',
    chains: [firewallChain],
    match,
    text: `${names.firewall} has not accepted it: DROP`,
    reason: NO_RANGE,
  };
  return { kind: 'left', drop: { verdict, isForwardedToo: true }, chains, text };
}

/**
 * KUBE-SERVICES (from FORWARD and OUTPUT, for ClusterIPs) and KUBE-EXTERNAL-SERVICES (from INPUT and FORWARD, for the
 * rest; node ports on every address of the node, whatever nodePortAddresses say), after what drops in front of them.
 */
function filter(
  generation: Generation,
  { matches, nodePort, network, machine, packet }: NodeCall,
  hook: Hook,
): FilterVerdict | undefined {
  const { drop } = packet;
  if (drop !== undefined && (hook !== 'forward' || drop.isForwardedToo)) return drop.verdict;
  for (const match of nodePort === undefined ? matches : [...matches, nodePort]) {
    const isClusterIp = match.role === 'cluster-ip';
    if (hook === (isClusterIp ? 'input' : 'output')) continue;
    const backends = backendsOf(network, match.service, match.port, machine);
    const chains = [isClusterIp ? 'KUBE-SERVICES' : 'KUBE-EXTERNAL-SERVICES'];
    const verdict = noEndpointsVerdict(match, backends, chains, generation.hasLocalDrops);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}
