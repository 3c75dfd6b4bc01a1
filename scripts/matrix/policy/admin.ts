import { z } from 'zod';
import { isSelected, labelSelector } from './kubernetes.ts';
import type { Labels, Policy, PolicyPod, PolicyRule } from './types.ts';

/** A policy of policy.networking.k8s.io: AdminNetworkPolicy and its like, which are not modelled. */
export interface AdminPolicy {
  /** "AdminNetworkPolicy no-internet". */
  readonly name: string;
  readonly spec: unknown;
}

const specSchema = z.looseObject({
  subject: z.union([
    z.strictObject({ namespaces: labelSelector }),
    z.strictObject({
      pods: z.looseObject({ namespaceSelector: labelSelector, podSelector: labelSelector }),
    }),
  ]),
  ingress: z.array(z.unknown()).nullish(),
  egress: z.array(z.unknown()).nullish(),
});

/** Nothing is known of what passes a pod that it selects, in the directions that it has rules for. It is asked in `tier`. */
export function fromAdmin(
  { name, spec }: AdminPolicy,
  namespaces: Readonly<Record<string, Labels>>,
  tier: string,
): Policy {
  const { data } = specSchema.safeParse(spec);
  const selects = ({ namespace, labels }: PolicyPod): boolean => {
    if (data === undefined) return true;
    const { subject } = data;
    const own = namespaces[namespace] ?? {};
    return 'namespaces' in subject
      ? isSelected(subject.namespaces, own)
      : isSelected(subject.pods.namespaceSelector, own) && isSelected(subject.pods.podSelector, labels);
  };
  const unknown: PolicyRule = { action: 'Deny', matches: () => 'policies of this kind are not modelled' };
  const hasRules = (direction: 'ingress' | 'egress') => data === undefined || !!data[direction]?.length;
  return {
    ...{ name, tier, order: Number.NEGATIVE_INFINITY, selects },
    ...(hasRules('ingress') ? { ingress: [unknown] } : {}),
    ...(hasRules('egress') ? { egress: [unknown] } : {}),
  };
}
