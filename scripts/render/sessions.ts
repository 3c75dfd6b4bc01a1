import type { LabPlan, MachinePlan, PeeringPlan } from '../plan/types.ts';

/** A BGP session as one of its two ends sees it. */
export interface Session {
  readonly kind: PeeringPlan['kind'];
  readonly own: PeeringPlan['a'];
  readonly peer: PeeringPlan['b'];
}

/** The BGP sessions of one machine, in plan order. */
export function sessionsOf(plan: LabPlan, machine: MachinePlan): readonly Session[] {
  return plan.bgp.peerings.flatMap(({ kind, a, b }) => {
    if (a.machine === machine.name) return [{ kind, own: a, peer: b }];
    if (b.machine === machine.name) return [{ kind, own: b, peer: a }];
    return [];
  });
}
