import type { Check } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import { machinesOf } from '../plan/types.ts';
import type { NatOutgoing, ObservedState } from './state/types.ts';

/** The check that the cells depend on in which a pod of the node addresses what is no pod. */
export function podNetworkCheckId(node: string): string {
  return `pod-network.${node}`;
}

/**
 * Whether every node masquerades what its pods send out of the pod network. A node that could not be looked at has a
 * check of its own for that. Pure.
 */
export function checkPodNetwork(plan: LabPlan, state: ObservedState): readonly Check[] {
  const { podCidr } = plan.kubernetes;
  const wanted = text({ sources: [podCidr], except: [podCidr] });
  return machinesOf(plan, 'control-plane', 'worker').flatMap(({ name }): Check[] => {
    const machine = state.machines.get(name);
    if (machine === undefined || machine.problem !== undefined) return [];
    const { natOutgoing } = machine;
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
    ];
  });
}

function text({ sources, except }: Pick<NatOutgoing, 'sources' | 'except'>): string {
  return `what comes from ${[...sources].sort().join(', ')} is masqueraded, unless it is for ${[...except].sort().join(', ')}`;
}
