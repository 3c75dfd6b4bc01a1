import { clusterPolicy, fromInside, localPolicy, NO_LOCAL_POD, toClusterIp } from './service-rules.ts';
import type { ServiceRules } from './types.ts';

/**
 * kube-proxy's iptables rules of Kubernetes up to 1.23: KUBE-XLB for policy Local, and rules of each kind of address. Seen
 * on Kubernetes 1.20.2. `marksFirst`: up to 1.20 KUBE-SERVICES itself marks what is to be masqueraded, later versions do
 * so in the service's own chain (kubernetes PR 96959).
 */
export function rulesBefore124(marksFirst: boolean): ServiceRules {
  return {
    localChain: 'XLB',
    hasLocalDrops: false,
    clusterIp: (call) => {
      const svc = call.match.chain('SVC');
      return toClusterIp(call, 'all', svc, marksFirst ? ['KUBE-MARK-MASQ', svc] : [svc, 'KUBE-MARK-MASQ']);
    },
    external: (call, first) => {
      const { machine, packet, match, backends } = call;
      const { service, role } = match;
      // "-m addrtype ! --src-type LOCAL", and a second rule for addresses that the node has itself.
      if (role === 'external-ip' && machine.isOwn(packet.source) && !machine.isOwn(packet.destination))
        return {
          kind: 'left',
          chains: ['KUBE-SERVICES'],
          text: `the rule for external addresses leaves out what ${machine.name} itself sends (! --src-type LOCAL)`,
        };
      const before =
        role === 'load-balancer-ip' && service.sourceRanges.length === 0
          ? [...first, match.chain('FW')]
          : first;
      if (service.policy === 'Cluster') return clusterPolicy(call, before);
      const xlb = [...before, match.chain('XLB')];
      const inside = fromInside(call, xlb);
      if (inside !== undefined) return inside;
      if (backends.local.length > 0) return localPolicy(call, xlb);
      return {
        kind: 'left',
        dropReason: NO_LOCAL_POD,
        chains: [...xlb, 'KUBE-MARK-DROP'],
        text: 'no local endpoints: marked to be dropped',
      };
    },
  };
}
