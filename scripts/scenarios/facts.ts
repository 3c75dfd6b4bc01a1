import { z } from 'zod';
import { type Pod, reasonOf } from '../cluster/pods.ts';
import type { LabPlan } from '../plan/types.ts';

/** What the API says of the scenario's namespaces, and the plan of the lab. */
export interface Facts {
  readonly plan: LabPlan;
  readonly pods: readonly PodFact[];
  readonly services: readonly ServiceFact[];
  /** What stood there when an earlier step had ended, and what its command had printed. Throws for a step that did not run. */
  readonly after: (step: string) => Seen;
}

interface Seen {
  readonly stdout: string;
  readonly facts: Omit<Facts, 'after'>;
}

export interface PodFact {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly phase: string;
  readonly ready: boolean;
  /** It is being deleted. */
  readonly ending: boolean;
  /** Empty until it has one. */
  readonly ip: string;
  /** Empty until it is scheduled. */
  readonly node: string;
  readonly hostNetwork: boolean;
  readonly restarts: number;
  /** What keeps it from being Ready. */
  readonly reason: string;
  /** "ReplicaSet/web-5d4f": what made it. */
  readonly owner: string;
}

export interface ServiceFact {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** `None` of a headless service; empty of an ExternalName. */
  readonly clusterIp: string;
  readonly externalName: string;
  /** What status.loadBalancer says. */
  readonly loadBalancerIps: readonly string[];
  readonly ports: readonly {
    readonly name: string;
    readonly port: number;
    readonly nodePort: number;
  }[];
  readonly healthCheckNodePort: number;
  /** Of its EndpointSlices; those that are not ready as well. */
  readonly endpoints: readonly {
    readonly address: string;
    readonly port: number;
    readonly ready: boolean;
    /** The pod that it is; empty where it is none. */
    readonly pod: string;
  }[];
}

/** The kinds that parseFacts reads. */
export const FACT_KINDS = 'pods,services,endpointslices';

/** The status of a Service and of an Ingress. */
export const loadBalancerStatus = z
  .object({
    loadBalancer: z
      .object({ ingress: z.array(z.object({ ip: z.string().default('') })).default([]) })
      .default({ ingress: [] }),
  })
  .default({ loadBalancer: { ingress: [] } });

const meta = z.object({
  name: z.string(),
  namespace: z.string(),
  labels: z.record(z.string(), z.string()).default({}),
  deletionTimestamp: z.string().optional(),
  ownerReferences: z.array(z.object({ kind: z.string(), name: z.string() })).default([]),
});
const pod = z.object({
  kind: z.literal('Pod'),
  metadata: meta,
  spec: z.object({ nodeName: z.string().default(''), hostNetwork: z.boolean().default(false) }),
  status: z.looseObject({
    phase: z.string().default('Pending'),
    podIP: z.string().default(''),
    conditions: z
      .array(
        z.object({
          type: z.string(),
          status: z.string(),
          reason: z.string().optional(),
          message: z.string().optional(),
        }),
      )
      .default([]),
    containerStatuses: z.array(z.looseObject({ restartCount: z.number() })).default([]),
  }),
});
const service = z.object({
  kind: z.literal('Service'),
  metadata: meta,
  spec: z.object({
    type: z.string(),
    clusterIP: z.string().default(''),
    externalName: z.string().default(''),
    healthCheckNodePort: z.number().default(0),
    ports: z
      .array(
        z.object({
          name: z.string().default(''),
          port: z.number(),
          nodePort: z.number().default(0),
        }),
      )
      .default([]),
  }),
  status: loadBalancerStatus,
});
const slice = z.object({
  kind: z.literal('EndpointSlice'),
  metadata: meta,
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()),
        conditions: z.object({ ready: z.boolean().nullish() }).default({}),
        targetRef: z.object({ kind: z.string(), name: z.string() }).optional(),
      }),
    )
    .nullish(),
  ports: z.array(z.object({ port: z.number().nullish() })).nullish(),
});
const list = z.object({ items: z.array(z.discriminatedUnion('kind', [pod, service, slice])) });

/** The label of an EndpointSlice that names its service. */
const SERVICE_LABEL = 'kubernetes.io/service-name';

/** Reads `kubectl get pods,services,endpointslices -o json` of several namespaces, one text each. Throws ZodError. */
export function parseFacts(texts: readonly string[]): Pick<Facts, 'pods' | 'services'> {
  const items = texts.flatMap((text) => list.parse(JSON.parse(text)).items);
  const slices = items.flatMap((item) => (item.kind === 'EndpointSlice' ? [item] : []));
  return {
    pods: items.flatMap((item) => (item.kind === 'Pod' ? [podFact(item)] : [])),
    services: items.flatMap((item) => (item.kind === 'Service' ? [serviceFact(item, slices)] : [])),
  };
}

function podFact(item: z.infer<typeof pod>): PodFact {
  const { metadata, spec, status } = item;
  const [owner] = metadata.ownerReferences;
  const unscheduled = status.conditions.find(
    (each) => each.type === 'PodScheduled' && each.status === 'False',
  );
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    labels: metadata.labels,
    phase: status.phase,
    ready: status.conditions.some((each) => each.type === 'Ready' && each.status === 'True'),
    ending: metadata.deletionTimestamp !== undefined,
    ip: status.podIP,
    node: spec.nodeName,
    hostNetwork: spec.hostNetwork,
    restarts: status.containerStatuses.reduce((sum, { restartCount }) => sum + restartCount, 0),
    reason: unscheduled?.message ?? reasonOf(item as unknown as Pod),
    owner: owner === undefined ? '' : `${owner.kind}/${owner.name}`,
  };
}

function serviceFact(
  { metadata, spec, status }: z.infer<typeof service>,
  slices: readonly z.infer<typeof slice>[],
): ServiceFact {
  const own = slices.filter(
    (each) =>
      each.metadata.namespace === metadata.namespace && each.metadata.labels[SERVICE_LABEL] === metadata.name,
  );
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    type: spec.type,
    clusterIp: spec.clusterIP,
    externalName: spec.externalName,
    loadBalancerIps: status.loadBalancer.ingress.map(({ ip }) => ip).filter((ip) => ip !== ''),
    ports: spec.ports,
    healthCheckNodePort: spec.healthCheckNodePort,
    endpoints: own.flatMap(({ endpoints, ports }) =>
      (endpoints ?? []).flatMap(({ addresses, conditions, targetRef }) =>
        addresses.flatMap((address) =>
          (ports ?? []).map(({ port }) => ({
            address,
            port: port ?? 0,
            ready: conditions.ready !== false,
            pod: targetRef?.kind === 'Pod' ? targetRef.name : '',
          })),
        ),
      ),
    ),
  };
}
