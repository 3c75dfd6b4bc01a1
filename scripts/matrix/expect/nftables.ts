import { inAny } from '../addresses.ts';
import { bareName, type EchoService, type ServicePort } from '../endpoints.ts';
import { backendsOf } from './backends.ts';
import { base32 } from './chain-names.ts';
import { NO_RANGE, NONE, noEndpointsVerdict, toClusterIp, toExternal } from './service-rules.ts';
import type {
  FilterVerdict,
  Hook,
  Match,
  NatVerdict,
  NodeCall,
  RuleCall,
  ServiceNames,
  ServiceRules,
} from './types.ts';

/**
 * kube-proxy's rules in nftables mode: maps by address, protocol and port in a table of its own, "ip kube-proxy"
 * (pkg/proxy/nftables/proxier.go). Seen on Kubernetes 1.36.
 */
export const rulesOfNftables: ServiceRules = {
  names: nftablesNames,
  masquerading: { marked: 'masquerading', hairpin: '@hairpin-connections' },
  hasLocalDrops: true,
  sharesChains: false,
  translate,
  filter,
};

const HASH_LENGTH = 8;

function nftablesNames({ namespace, name, affinity }: EchoService, port: ServicePort): ServiceNames {
  const hashed = (text: string) => `${base32(text, HASH_LENGTH)}-${text}`;
  const text = `${namespace}/${bareName(name)}/${port.protocol}/${port.name}`;
  const base = hashed(text);
  const external = `external-${base}`;
  return {
    all: `service-${base}`,
    local: `local-${base}`,
    external,
    firewall: `firewall-${base}`,
    owner: external,
    // Without affinity the service's own chain translates.
    endpoint: (address) =>
      affinity === 'ClientIP' ? `endpoint-${hashed(`${text}__${address.replace(':', '/')}`)}` : undefined,
  };
}

/** An address and port is one element of a map, so that it leads to one service only. */
function translate({ matches, nodePort, packet, network, machine, kubeProxy }: NodeCall): NatVerdict {
  const ruleOf = (match: Match): RuleCall => ({
    ...{ packet, network, machine, kubeProxy, match },
    names: match.names(kubeProxy.rules),
    backends: backendsOf(network, match.service, match.port, machine),
  });
  const hasEndpoints = ({ backends: { all, local } }: RuleCall) => all.length > 0 || local.length > 0;
  const refused = matches.find(
    ({ role, service: { sourceRanges } }) =>
      role === 'load-balancer-ip' && sourceRanges.length > 0 && !inAny(sourceRanges, packet.source),
  );
  if (refused !== undefined)
    return { kind: 'dropped', verdict: notInRanges(packet.source, refused, ruleOf(refused).names) };
  const [match] = matches;
  const rule = match === undefined ? undefined : ruleOf(match);
  if (rule !== undefined && hasEndpoints(rule)) {
    const map = ['services', 'service-ips'];
    if (rule.match.role !== 'cluster-ip') return toExternal(rule, [...map, rule.names.external], []);
    const scope = rule.match.service.internalPolicy === 'Local' ? 'local' : 'all';
    return toClusterIp(rule, scope, () => [...map, rule.names[scope]]);
  }
  if (nodePort === undefined || !kubeProxy.servesNodePortsOn(packet.destination)) return NONE;
  const own = ruleOf(nodePort);
  return hasEndpoints(own)
    ? toExternal(own, ['services', 'service-nodeports', own.names.external], [])
    : NONE;
}

/** Before the routing decision about what comes in (priority dstnat - 10). */
function notInRanges(source: string, match: Match, { firewall }: ServiceNames): FilterVerdict {
  return {
    action: 'drop',
    chains: ['firewall-check', 'firewall-ips', firewall],
    match,
    text: `${source} is in none of the service's loadBalancerSourceRanges: drop`,
    reason: NO_RANGE,
  };
}

/** Service addresses are looked up on every way, node ports where the node keeps the packet, other ClusterIPs where it does not. */
function filter(
  { matches, nodePort, network, machine, kubeProxy, packet: { destination } }: NodeCall,
  hook: Hook,
): FilterVerdict | undefined {
  const verdictFor = (match: Match, chains: readonly string[]) =>
    noEndpointsVerdict(match, backendsOf(network, match.service, match.port, machine), chains, true);
  if (hook === 'input' && nodePort !== undefined && kubeProxy.servesNodePortsOn(destination)) {
    const verdict = verdictFor(nodePort, ['nodeport-endpoints-check', 'no-endpoint-nodeports']);
    if (verdict !== undefined) return verdict;
  }
  for (const match of matches) {
    const verdict = verdictFor(match, ['service-endpoints-check', 'no-endpoint-services']);
    if (verdict !== undefined) return verdict;
  }
  if (hook === 'input' || matches.length > 0) return undefined;
  const chains = ['cluster-ips-check'];
  if (network.isClusterIp(destination))
    return {
      action: 'reject',
      chains,
      text: `${destination} is a ClusterIP, but not with this port: reject`,
      reason: '{at} rejects the connection, because the service has no such port',
    };
  return inAny(machine.state.nftServices?.serviceCidrs ?? [], destination)
    ? {
        action: 'drop',
        chains,
        text: `no service has ${destination}: drop`,
        reason: '{at} drops the packet, because no service has this address of the service CIDR',
      }
    : undefined;
}
