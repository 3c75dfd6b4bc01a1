import { z } from 'zod';
import { HarnessError, messageOf } from '../shared/errors.ts';
import { sortAddresses } from './outcomes.ts';
import type { Protocol } from './types.ts';

/** The state of the cluster that expectations follow from: what the API server says, not what a manifest wished. */
export interface Endpoints {
  readonly services: readonly EchoService[];
  readonly pods: readonly EchoPod[];
}

export interface EchoService {
  readonly name: string;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  /** Absent for a headless service. */
  readonly clusterIp?: string;
  readonly ports: readonly ServicePort[];
  /** spec.externalIPs and the addresses of status.loadBalancer.ingress. */
  readonly externalIps: readonly string[];
  readonly policy: 'Local' | 'Cluster';
  /** Where kube-proxy says whether the node has a ready endpoint: type LoadBalancer with policy Local only. */
  readonly healthCheckNodePort?: number;
  /** Addresses of the ready endpoints. */
  readonly backends: readonly string[];
}

export interface ServicePort {
  readonly port: number;
  readonly protocol: Protocol;
  readonly nodePort?: number;
}

export interface EchoPod {
  readonly name: string;
  /** Absent until the pod has an address. */
  readonly ip?: string;
  readonly node?: string;
  readonly hostname?: string;
  readonly subdomain?: string;
  readonly ready: boolean;
}

const protocol = z
  .enum(['TCP', 'UDP', 'SCTP'])
  .default('TCP')
  .transform((name) => name.toLowerCase());
const metadata = z.object({ name: z.string() });

const serviceObject = z.object({
  kind: z.literal('Service'),
  metadata,
  spec: z.object({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer']).default('ClusterIP'),
    clusterIP: z.string().optional(),
    ports: z.array(z.object({ port: z.number(), protocol, nodePort: z.number().optional() })).default([]),
    externalIPs: z.array(z.string()).default([]),
    externalTrafficPolicy: z.enum(['Local', 'Cluster']).default('Cluster'),
    healthCheckNodePort: z.number().optional(),
  }),
  status: z
    .object({
      loadBalancer: z
        .object({ ingress: z.array(z.object({ ip: z.string().optional() })).default([]) })
        .optional(),
    })
    .optional(),
});

const endpointsObject = z.object({
  kind: z.literal('Endpoints'),
  metadata,
  subsets: z
    .array(z.object({ addresses: z.array(z.object({ ip: z.string() })).default([]) }))
    .nullish()
    .transform((subsets) => subsets ?? []),
});

const podObject = z.object({
  kind: z.literal('Pod'),
  metadata: metadata.extend({ deletionTimestamp: z.string().optional() }),
  spec: z.object({
    nodeName: z.string().optional(),
    hostname: z.string().optional(),
    subdomain: z.string().optional(),
  }),
  status: z.object({
    podIP: z.string().optional(),
    conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]),
  }),
});

const list = z.object({ items: z.array(z.looseObject({ kind: z.string() })) });

/**
 * Reads `kubectl get services|endpoints|pods -o json` of the echo namespace. Each text may hold other kinds as well, so
 * that the answer of one `kubectl get services,endpoints,pods -o json` can be given three times. Throws HarnessError
 * where a text is not what kubectl prints.
 */
export function parseEndpoints(servicesJson: string, endpointsJson: string, podsJson: string): Endpoints {
  const services = itemsOf('Service', servicesJson, serviceObject);
  const endpoints = itemsOf('Endpoints', endpointsJson, endpointsObject);
  const pods = itemsOf('Pod', podsJson, podObject);
  const ready = new Map(
    endpoints.map(({ metadata: { name }, subsets }) => [
      name,
      sortAddresses(subsets.flatMap(({ addresses }) => addresses.map(({ ip }) => ip))),
    ]),
  );
  return {
    services: services.map((service) => serviceOf(service, ready.get(service.metadata.name) ?? [])),
    pods: pods.map(podOf),
  };
}

/** The ready pods behind at least one service of the namespace, by name: those that a probe can reach. */
export function serverPods(endpoints: Endpoints): readonly (EchoPod & { readonly ip: string })[] {
  const backends = new Set(endpoints.services.flatMap(({ backends }) => backends));
  return endpoints.pods.filter(
    (pod): pod is EchoPod & { readonly ip: string } => pod.ip !== undefined && backends.has(pod.ip),
  );
}

function itemsOf<T>(kind: string, text: string, schema: z.ZodType<T>): readonly T[] {
  const fail = (details: readonly string[], cause: unknown) =>
    new HarnessError(`kubectl's list of ${kind} objects is not what was expected.`, { details, cause });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw fail([messageOf(cause)], cause);
  }
  const listed = list.safeParse(document);
  if (!listed.success) throw fail(z.prettifyError(listed.error).split('\n'), listed.error);
  const parsed = z.array(schema).safeParse(listed.data.items.filter((item) => item.kind === kind));
  if (!parsed.success) throw fail(z.prettifyError(parsed.error).split('\n'), parsed.error);
  return parsed.data;
}

function serviceOf(
  { metadata: { name }, spec, status }: z.output<typeof serviceObject>,
  backends: readonly string[],
) {
  const ingress = status?.loadBalancer?.ingress.flatMap(({ ip }) => (ip === undefined ? [] : [ip])) ?? [];
  const external = spec.type === 'ClusterIP' ? spec.externalIPs : [...spec.externalIPs, ...ingress];
  const service: EchoService = {
    name,
    type: spec.type,
    ...(spec.clusterIP === undefined || spec.clusterIP === 'None' ? {} : { clusterIp: spec.clusterIP }),
    ports: spec.ports.flatMap(({ port, protocol, nodePort }) =>
      isProbed(protocol)
        ? [{ port, protocol, ...(nodePort === undefined || nodePort === 0 ? {} : { nodePort }) }]
        : [],
    ),
    externalIps: [...new Set(external)],
    policy: spec.externalTrafficPolicy,
    ...(spec.healthCheckNodePort === undefined ? {} : { healthCheckNodePort: spec.healthCheckNodePort }),
    backends,
  };
  return service;
}

function podOf({ metadata: { name, deletionTimestamp }, spec, status }: z.output<typeof podObject>) {
  const isReady = status.conditions.some(({ type, status: value }) => type === 'Ready' && value === 'True');
  const pod: EchoPod = {
    name,
    ...(status.podIP === undefined ? {} : { ip: status.podIP }),
    ...(spec.nodeName === undefined ? {} : { node: spec.nodeName }),
    ...(spec.hostname === undefined ? {} : { hostname: spec.hostname }),
    ...(spec.subdomain === undefined ? {} : { subdomain: spec.subdomain }),
    ready: isReady && deletionTimestamp === undefined,
  };
  return pod;
}

/** The echo servers speak TCP and UDP; another protocol has no probe. */
function isProbed(protocol: string): protocol is Protocol {
  return protocol === 'tcp' || protocol === 'udp';
}
