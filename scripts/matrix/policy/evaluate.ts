import type { Direction, Policy, PolicyFlow, PolicyPod, Tier } from './types.ts';

/** What policies make of a connection of a pod. */
export type PolicyVerdict =
  | { readonly kind: 'allowed' }
  /** `byDefault`: they select the pod, and none of their rules is about the connection. */
  | { readonly kind: 'denied'; readonly policies: readonly string[]; readonly byDefault: boolean }
  | { readonly kind: 'unknown'; readonly reason: string };

const ALLOWED: PolicyVerdict = { kind: 'allowed' };

/**
 * Asks policies as Felix does: tier by tier, in each by order and then by name. The first rule that is about the connection
 * decides; Pass goes on with the next tier. What no policy selects is allowed (Calico's profile of the namespace). Pure.
 */
export function evaluate(
  tiers: readonly Tier[],
  policies: readonly Policy[],
  direction: Direction,
  pod: PolicyPod,
  flow: PolicyFlow,
): PolicyVerdict {
  const stray = policies.find(({ tier }) => tiers.every(({ name }) => name !== tier));
  if (stray !== undefined)
    return { kind: 'unknown', reason: `${stray.name} is in tier ${stray.tier}, which is not there` };
  for (const tier of tiers) {
    const verdict = inTier(tier, policies, direction, pod, flow);
    if (verdict !== undefined) return verdict;
  }
  return ALLOWED;
}

function inTier(
  { name: tier, defaultAction }: Tier,
  policies: readonly Policy[],
  direction: Direction,
  pod: PolicyPod,
  flow: PolicyFlow,
): PolicyVerdict | undefined {
  const selecting: string[] = [];
  const inOrder = policies
    .filter((policy) => policy.tier === tier)
    .sort((a, b) => (a.order === b.order ? a.name.localeCompare(b.name) : a.order - b.order));
  for (const { name, selects, ...rules } of inOrder) {
    const own = rules[direction];
    const isSelected = own === undefined ? false : selects(pod);
    if (typeof isSelected === 'string') return { kind: 'unknown', reason: `${name}: ${isSelected}` };
    if (!isSelected || own === undefined) continue;
    selecting.push(name);
    for (const { action, matches } of own) {
      const isMatch = action === 'Log' ? false : matches(flow);
      if (typeof isMatch === 'string') return { kind: 'unknown', reason: `${name}: ${isMatch}` };
      if (!isMatch) continue;
      if (action === 'Pass') return undefined;
      return action === 'Allow' ? ALLOWED : { kind: 'denied', policies: [name], byDefault: false };
    }
  }
  return selecting.length === 0 || defaultAction === 'Pass'
    ? undefined
    : { kind: 'denied', policies: selecting, byDefault: true };
}
