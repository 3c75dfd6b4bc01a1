import type { Check } from '../bgp/checks/check.ts';
import { CALICO_GATEWAY } from '../plan/addressing.ts';
import type { LabPlan } from '../plan/types.ts';
import { machinesOf } from '../plan/types.ts';
import type { Machine } from './expect/machine.ts';
import { worldOf } from './expect/world.ts';
import type { NatOutgoing, ObservedState } from './state/types.ts';

/** The check that the cells depend on in which a pod of the node addresses what is no pod. */
export function podNetworkCheckId(node: string): string {
  return `pod-network.${node}`;
}

/** The check that all cells depend on in which a pod of the node sends or answers. With Calico only. */
export function gatewayCheckId(node: string): string {
  return `pod-network.${node}.gateway`;
}

/**
 * Whether every node masquerades what its pods send out of the pod network, and with Calico answers for their gateway. A
 * node that could not be looked at has a check of its own for that. Pure.
 */
export function checkPodNetwork(plan: LabPlan, state: ObservedState): readonly Check[] {
  const { podCidr } = plan.kubernetes;
  const wanted = text({ sources: [podCidr], except: [podCidr] });
  return machinesOf(plan, 'control-plane', 'worker').flatMap(({ name }): Check[] => {
    const machine = worldOf(state).machine(name);
    if (machine === undefined || machine.state.problem !== undefined) return [];
    const { natOutgoing } = machine.state;
    const seen = natOutgoing === undefined ? 'nothing is masqueraded' : text(natOutgoing);
    return [
      {
        id: podNetworkCheckId(name),
        title: `${name} masquerades what leaves the pod network`,
        verdict: natOutgoing?.problem !== undefined ? 'harness' : seen === wanted ? 'passed' : 'failed',
        expected: wanted,
        observed: natOutgoing?.problem ?? seen,
        why: "Whoever is not in the cluster need not know a way to a pod's address, so a pod shows its node's there.",
      },
      ...(plan.choices.cni.value === 'calico' ? [checkGateway(machine)] : []),
    ];
  });
}

function checkGateway({ name, lookup }: Machine): Check {
  const found = lookup(CALICO_GATEWAY);
  const [hop] = found.kind === 'route' ? found.route.hops : [];
  return {
    id: gatewayCheckId(name),
    title: `${name} answers its pods for their gateway`,
    verdict: hop === undefined ? 'failed' : 'passed',
    expected: `a route to ${CALICO_GATEWAY}`,
    observed:
      hop === undefined ? `no route to ${CALICO_GATEWAY} (npx labup puts it back)` : `by ${hop.interface}`,
    why: `Calico gives every pod the gateway ${CALICO_GATEWAY}, and the node's kernel answers for it only while it has a route there by another interface than the pod's; without it no pod reaches anything, nor answers.`,
  };
}

function text({ sources, except }: Pick<NatOutgoing, 'sources' | 'except'>): string {
  return `what comes from ${[...sources].sort().join(', ')} is masqueraded, unless it is for ${[...except].sort().join(', ')}`;
}
