import { iptablesNamesBefore124 } from './chain-names.ts';
import { iptables, marked } from './iptables.ts';
import { clusterPolicy, fromInside, localPolicy, NO_LOCAL_POD, toClusterIp } from './service-rules.ts';
import type { ServiceRules } from './types.ts';

const MARK = ['KUBE-MARK-MASQ'];

/**
 * kube-proxy's iptables rules of Kubernetes up to 1.23: KUBE-XLB for policy Local, and rules of each kind of address. Seen
 * on Kubernetes 1.20.2. `marksFirst`: up to 1.20 KUBE-SERVICES itself marks what is to be masqueraded, later versions do
 * so in the service's own chain (kubernetes PR 96959).
 */
export function rulesBefore124(marksFirst: boolean): ServiceRules {
  return iptables({
    names: iptablesNamesBefore124,
    hasLocalDrops: false,
    clusterIp: (call) => {
      const { all } = call.names;
      const services = 'KUBE-SERVICES';
      return toClusterIp(call, 'all', (isMarked) =>
        isMarked && marksFirst ? [services, ...MARK, all] : [services, all, ...(isMarked ? MARK : [])],
      );
    },
    external: (call, first) => {
      const { machine, packet, match, backends, names } = call;
      const { service, role } = match;
      // "-m addrtype ! --src-type LOCAL", and a second rule for addresses that the node has itself.
      if (role === 'external-ip' && machine.isOwn(packet.source) && !machine.isOwn(packet.destination))
        return {
          kind: 'left',
          chains: ['KUBE-SERVICES'],
          text: `the rule for external addresses leaves out what ${machine.name} itself sends (! --src-type LOCAL)`,
        };
      const before =
        role === 'load-balancer-ip' && service.sourceRanges.length === 0 ? [...first, names.firewall] : first;
      if (service.policy === 'Cluster') return clusterPolicy(call, before, MARK);
      const xlb = [...before, names.local];
      const inside = fromInside(call, xlb, MARK);
      if (inside !== undefined) return inside;
      if (backends.local.length > 0) return localPolicy(call, xlb);
      return {
        kind: 'left',
        drop: marked(NO_LOCAL_POD),
        chains: [...xlb, 'KUBE-MARK-DROP'],
        text: 'no local endpoints: marked to be dropped',
      };
    },
  });
}
