import { type Check, type CheckOf, makeCheck, unseenCheck } from '../bgp/checks/check.ts';
import { CALICO_GATEWAY } from '../plan/addressing.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import { coversAll } from './addresses.ts';
import { networkOf } from './expect/network-state.ts';
import type { Machine } from './expect/types.ts';
import { policyNames } from './policy/policies.ts';
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
      checkMasquerading(wantedMasquerading(plan, state), machine),
      ...(plan.choices.cni.value === 'calico' ? [checkGateway(machine)] : []),
    ];
  });
}

/** With Calico that of the pools that have natOutgoing, unless it is for an address of any pool. */
function wantedMasquerading(
  { kubernetes: { podCidr } }: LabPlan,
  { calico }: ObservedState,
): CheckOf<'masquerading'>['wanted'] {
  if (calico === undefined) return { sources: [podCidr], except: [podCidr] };
  const sources = calico.pools.flatMap(({ natOutgoing, cidr }) => (natOutgoing ? [cidr] : []));
  return { sources, except: sources.length === 0 ? [] : calico.pools.map(({ cidr }) => cidr) };
}

function checkMasquerading(
  wanted: CheckOf<'masquerading'>['wanted'],
  { name, state: { natOutgoing } }: Machine,
): Check {
  const subject = { machine: name };
  if (natOutgoing?.problem !== undefined)
    return unseenCheck('masquerading', subject, wanted, { fault: 'harness', detail: natOutgoing.problem });
  const rule =
    natOutgoing === undefined
      ? null
      : { sources: [...natOutgoing.sources].sort(), except: [...natOutgoing.except].sort() };
  const { sources = [], except = [] } = rule ?? {};
  // More exceptions do no harm: the nodes' own addresses (natOutgoingExclusions), or pools of load balancers.
  const isRight =
    coversAll(sources, wanted.sources) &&
    coversAll(wanted.sources, sources) &&
    coversAll(except, wanted.except);
  return makeCheck('masquerading', subject, {
    reason: isRight ? 'as-wanted' : sources.length === 0 ? 'missing' : 'other-addresses',
    wanted,
    seen: { rule },
  });
}

/** Where somebody has made policies: whether anything enforces them. */
export function checkPolicies({ policies }: ObservedState): readonly Check[] {
  const names = policies === undefined ? [] : policyNames(policies);
  if (policies === undefined || names.length === 0) return [];
  const enforced = policies.calico !== undefined;
  const isModelled = policies.admin.length === 0;
  return [
    makeCheck(
      'policies',
      {},
      {
        ...(enforced && !isModelled ? { verdict: 'skipped' } : {}),
        reason: !enforced ? 'not-enforced' : isModelled ? 'as-wanted' : 'not-modelled',
        wanted: { enforced: true },
        seen: {
          policies: names,
          enforced,
          ...(isModelled ? {} : { unmodelled: policies.admin.map(({ name }) => name) }),
        },
      },
    ),
  ];
}

function checkGateway({ name, lookup }: Machine): Check {
  const found = lookup(CALICO_GATEWAY);
  const [hop] = found.kind === 'route' ? found.route.hops : [];
  return makeCheck(
    'pod-gateway',
    { machine: name },
    {
      reason: hop === undefined ? 'missing' : 'as-wanted',
      wanted: { gateway: CALICO_GATEWAY },
      seen: { interface: hop?.interface ?? null },
    },
  );
}
