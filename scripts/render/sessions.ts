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

/**
 * A TCP MD5 password as both FRR and BIRD take it without quoting trouble. Throws otherwise, without showing it: a
 * quote or a newline would end the string in bird.conf, a blank or "!" the word in frr.conf; Linux takes 80 bytes.
 */
export function checkedPassword(password: string): string {
  if (!/^[A-Za-z0-9_-]{1,80}$/.test(password)) {
    throw new Error('the BGP password must be 1 to 80 characters of A-Z, a-z, 0-9, "_" and "-"');
  }
  return password;
}
