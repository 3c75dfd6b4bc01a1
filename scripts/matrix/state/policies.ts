import { z } from 'zod';
import type { CalicoObject } from '../../bgp/calico/objects.ts';
import { listOf, networkPolicySpec } from '../policy/kubernetes.ts';
import type { PolicyObjects } from '../policy/policies.ts';
import { objectsIn, parseJson, parseWith } from './cluster.ts';

/** The kinds that it is read from, beside pods. */
export const POLICY_KINDS = 'namespaces,networkpolicies.networking.k8s.io';

/** Those of Calico's own kinds that verdicts follow from. */
const CALICO_KINDS = [
  'GlobalNetworkPolicy',
  'GlobalNetworkSet',
  'HostEndpoint',
  'NetworkPolicy',
  'NetworkSet',
  'Tier',
];

const labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((all) => all ?? {});
const metadata = z.object({ name: z.string(), namespace: z.string().default(''), labels });
const pod = z.object({
  kind: z.literal('Pod'),
  metadata,
  spec: z.object({
    hostNetwork: z.boolean().default(false),
    serviceAccountName: z.string().default('default'),
    containers: z.array(
      z.object({
        ports: listOf(
          z.object({
            name: z.string().optional(),
            containerPort: z.number(),
            protocol: z.string().default('TCP'),
          }),
        ),
      }),
    ),
  }),
  status: z.object({ podIP: z.string().optional(), phase: z.string().optional() }),
});
const namespace = z.object({ kind: z.literal('Namespace'), metadata });
const networkPolicy = z.object({
  kind: z.literal('NetworkPolicy'),
  metadata,
  spec: networkPolicySpec.default(networkPolicySpec.parse({})),
});
/** Of any kind. */
const object = z.object({ kind: z.string(), metadata, spec: z.unknown() });

/**
 * Reads what `kubectl get pods,namespaces,networkpolicies.networking.k8s.io -o json` prints; passes other kinds over. `admin`: the same
 * for the kinds of policy.networking.k8s.io.
 */
export function parsePolicies(
  text: string,
  calico?: readonly CalicoObject[],
  admin = '{"items":[]}',
): PolicyObjects {
  const ofKind = objectsIn(text);
  return {
    pods: ofKind('Pod', pod).flatMap(({ metadata: { name, ...meta }, spec, status: { podIP, phase } }) => {
      const isOver = phase === 'Succeeded' || phase === 'Failed';
      if (podIP === undefined || spec.hostNetwork || isOver) return [];
      const ports = spec.containers.flatMap((container) =>
        container.ports.flatMap(({ name: port, containerPort, protocol }) =>
          port === undefined ? [] : [{ name: port, port: containerPort, protocol: protocol.toLowerCase() }],
        ),
      );
      return [{ ip: podIP, name, ...meta, serviceAccount: spec.serviceAccountName, ports }];
    }),
    namespaces: Object.fromEntries(
      ofKind('Namespace', namespace).map(({ metadata: { name, labels: own } }) => [name, own]),
    ),
    kubernetes: ofKind('NetworkPolicy', networkPolicy).map(
      ({ metadata: { name, namespace: home }, spec }) => ({
        namespace: home,
        name,
        spec,
      }),
    ),
    admin: parseWith(z.object({ items: z.array(object) }), 'list of objects', parseJson(admin)).items.map(
      ({ kind, metadata: { name }, spec }) => ({ name: `${kind} ${name}`, spec }),
    ),
    ...(calico === undefined ? {} : { calico: calico.filter(({ kind }) => CALICO_KINDS.includes(kind)) }),
  };
}
