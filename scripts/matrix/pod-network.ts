import { type Check, makeCheck, unseenCheck } from '../bgp/checks/check.ts';
import { CALICO_GATEWAY } from '../plan/addressing.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import { networkOf } from './expect/network-state.ts';
import type { Machine } from './expect/types.ts';
import type { ObservedState } from './state/types.ts';

/**
 * Whether every node masquerades what its pods send out of the pod network, and with Calico answers for their gateway. A
 * node that could not be looked at has a check of its own for that. Pure.
 */
export function checkPodNetwork(plan: LabPlan, state: ObservedState): readonly Check[] {
  return machinesOf(plan, 'control-plane', 'worker').flatMap(({ name }): Check[] => {
    const machine = networkOf(state).machine(name);
    if (machine === undefined || machine.state.problem !== undefined) return [];
    return [
      checkMasquerading(plan, machine),
      ...(plan.choices.cni.value === 'calico' ? [checkGateway(machine)] : []),
    ];
  });
}

function checkMasquerading(plan: LabPlan, { name, state: { natOutgoing } }: Machine): Check {
  const { podCidr } = plan.kubernetes;
  const wanted = { sources: [podCidr], except: [podCidr] };
  const subject = { machine: name };
  if (natOutgoing?.problem !== undefined)
    return unseenCheck('masquerading', subject, wanted, { fault: 'harness', detail: natOutgoing.problem });
  const rule =
    natOutgoing === undefined
      ? null
      : { sources: [...natOutgoing.sources].sort(), except: [...natOutgoing.except].sort() };
  const isRight = rule?.sources.join() === podCidr && rule.except.join() === podCidr;
  return makeCheck('masquerading', subject, {
    verdict: isRight ? 'passed' : 'failed',
    reason: isRight ? 'as-wanted' : rule === null ? 'missing' : 'other-addresses',
    wanted,
    seen: { rule },
  });
}

function checkGateway({ name, lookup }: Machine): Check {
  const found = lookup(CALICO_GATEWAY);
  const [hop] = found.kind === 'route' ? found.route.hops : [];
  return makeCheck(
    'pod-gateway',
    { machine: name },
    {
      verdict: hop === undefined ? 'failed' : 'passed',
      reason: hop === undefined ? 'missing' : 'as-wanted',
      wanted: { gateway: CALICO_GATEWAY },
      seen: { interface: hop?.interface ?? null },
    },
  );
}
