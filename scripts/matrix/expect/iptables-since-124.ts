import { clusterPolicy, fromInside, localPolicy, toClusterIp } from './service-rules.ts';
import type { ServiceRules } from './types.ts';

/**
 * kube-proxy's iptables rules of Kubernetes 1.24 and later: KUBE-EXT for node ports, external IPs and load balancer
 * addresses alike, KUBE-SVL for a node's own endpoints. Seen on Kubernetes 1.36.
 */
export const rulesSince124: ServiceRules = {
  localChain: 'SVL',
  hasLocalDrops: true,
  clusterIp: (call) => {
    const scope = call.match.service.internalPolicy === 'Local' ? 'local' : 'all';
    const chain = call.match.chain(scope === 'local' ? 'SVL' : 'SVC');
    return toClusterIp(call, scope, chain, [chain, 'KUBE-MARK-MASQ']);
  },
  external: (call, before) => {
    const { match, backends } = call;
    const ext = [...before, match.chain('EXT')];
    if (match.service.policy === 'Cluster') return clusterPolicy(call, ext);
    const inside = fromInside(call, ext);
    if (inside !== undefined) return inside;
    const svl = match.chain('SVL');
    if (backends.local.length > 0) return localPolicy(call, [...ext, svl]);
    return {
      kind: 'left',
      chains: ext,
      missing: svl,
      text: 'no local endpoint, so KUBE-EXT has no rule for it',
    };
  },
};
