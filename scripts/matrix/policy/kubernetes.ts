import { z } from 'zod';
import { inAny } from '../addresses.ts';
import type { Labels, Peer, Policy, PolicyFlow, PolicyRule } from './types.ts';

/** A list that Kubernetes writes as null where it is empty. */
export function listOf<T extends z.ZodType>(item: T) {
  return z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);
}
/** A label selector of Kubernetes. */
export const labelSelector = z.object({
  matchLabels: z.record(z.string(), z.string()).nullish(),
  matchExpressions: listOf(
    z.object({
      key: z.string(),
      operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
      values: listOf(z.string()),
    }),
  ),
});
const peer = z.object({
  podSelector: labelSelector.optional(),
  namespaceSelector: labelSelector.optional(),
  ipBlock: z.object({ cidr: z.string(), except: listOf(z.string()) }).optional(),
});
const ports = listOf(
  z.object({
    protocol: z.string().default('TCP'),
    port: z.union([z.number(), z.string()]).optional(),
    endPort: z.number().optional(),
  }),
);

/** What a NetworkPolicy of networking.k8s.io/v1 says. */
export const networkPolicySpec = z.object({
  podSelector: labelSelector.default({ matchExpressions: [] }),
  policyTypes: listOf(z.enum(['Ingress', 'Egress'])),
  ingress: listOf(z.object({ from: listOf(peer), ports })),
  egress: listOf(z.object({ to: listOf(peer), ports })),
});

/** One of Kubernetes' own policies. */
export interface NetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly spec: z.output<typeof networkPolicySpec>;
}

/** Where Calico puts them among its own. */
const [TIER, ORDER] = ['default', 1000];

/** Compiles one. `namespaces`: their labels, by name. */
export function fromKubernetes(
  { namespace, name, spec }: NetworkPolicy,
  namespaces: Readonly<Record<string, Labels>>,
): Policy {
  const rule = (
    peers: readonly z.output<typeof peer>[],
    at: z.output<typeof ports>,
    other: 'source' | 'destination',
  ): PolicyRule => ({
    action: 'Allow',
    matches: (flow) =>
      (peers.length === 0 || peers.some((each) => isPeer(each, flow[other], namespace, namespaces))) &&
      (at.length === 0 || at.some((each) => isPort(each, flow))),
  });
  const types = spec.policyTypes.length > 0 ? spec.policyTypes : defaultTypes(spec);
  return {
    name: `NetworkPolicy ${namespace}/${name}`,
    tier: TIER,
    order: ORDER,
    selects: (pod) => pod.namespace === namespace && isSelected(spec.podSelector, pod.labels),
    ...(types.includes('Ingress')
      ? { ingress: spec.ingress.map(({ from, ports: at }) => rule(from, at, 'source')) }
      : {}),
    ...(types.includes('Egress')
      ? { egress: spec.egress.map(({ to, ports: at }) => rule(to, at, 'destination')) }
      : {}),
  };
}

function defaultTypes({ egress }: NetworkPolicy['spec']): readonly string[] {
  return egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

function isPeer(
  { podSelector, namespaceSelector, ipBlock }: z.output<typeof peer>,
  { address, pod }: Peer,
  namespace: string,
  namespaces: Readonly<Record<string, Labels>>,
): boolean {
  if (ipBlock !== undefined) return inAny([ipBlock.cidr], address) && !inAny(ipBlock.except, address);
  if (pod === undefined) return false;
  const isNamespace =
    namespaceSelector === undefined
      ? pod.namespace === namespace
      : isSelected(namespaceSelector, namespaces[pod.namespace] ?? {});
  return isNamespace && (podSelector === undefined || isSelected(podSelector, pod.labels));
}

function isPort(
  { protocol, port, endPort }: z.output<typeof ports>[number],
  { protocol: used, port: number, destination }: PolicyFlow,
): boolean {
  if (protocol.toLowerCase() !== used) return false;
  if (port === undefined) return true;
  if (typeof port === 'number') return number >= port && number <= (endPort ?? port);
  return (
    destination.pod?.ports.some(
      (each) => each.name === port && each.port === number && each.protocol === used,
    ) === true
  );
}

/** Whether a label selector of Kubernetes selects an object with these labels. */
export function isSelected(
  { matchLabels, matchExpressions }: z.output<typeof labelSelector>,
  labels: Labels,
): boolean {
  return (
    Object.entries(matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      const value = labels[key];
      const has = value !== undefined;
      const isListed = has && values.includes(value);
      return { In: isListed, NotIn: !isListed, Exists: has, DoesNotExist: !has }[operator];
    })
  );
}
