import { iptablesNames } from './chain-names.ts';
import { iptables } from './iptables.ts';
import { toClusterIp, toExternal } from './service-rules.ts';
import type { ServiceRules } from './types.ts';

const MARK = ['KUBE-MARK-MASQ'];

/**
 * kube-proxy's iptables rules of Kubernetes 1.24 and later: KUBE-EXT for node ports, external IPs and load balancer
 * addresses alike, KUBE-SVL for a node's own endpoints. Seen on Kubernetes 1.36. `hasFirewall`: since 1.25 what is in none
 * of the loadBalancerSourceRanges is dropped by KUBE-PROXY-FIREWALL, wherever it goes (kubernetes PR 110289).
 */
export function rulesSince124(hasFirewall: boolean): ServiceRules {
  return iptables({
    names: iptablesNames,
    hasLocalDrops: true,
    ...(hasFirewall ? { firewallChain: 'KUBE-PROXY-FIREWALL' } : {}),
    clusterIp: (call) => {
      const scope = call.match.service.internalPolicy === 'Local' ? 'local' : 'all';
      return toClusterIp(call, scope, (isMarked) => [
        'KUBE-SERVICES',
        call.names[scope],
        ...(isMarked ? MARK : []),
      ]);
    },
    external: (call, before) => toExternal(call, [...before, call.names.external], MARK),
  });
}
