import { z } from 'zod';
import { HarnessError, messageOf } from '../../shared/errors.ts';
import { ECHO_IMAGE } from '../../shared/versions.ts';
import { ECHO_NAMESPACE } from '../../spec/names.ts';
import { sorted } from '../addresses.ts';
import type { EchoPod, EchoService, Endpoint, PodPort } from '../endpoints.ts';
import { listOf } from '../policy/kubernetes.ts';
import type { PortProtocol } from '../types.ts';
import type { ClusterState, NodeState } from './types.ts';

const protocol = z
  .enum(['TCP', 'UDP', 'SCTP'])
  .default('TCP')
  .transform((name) => name.toLowerCase());
const metadata = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  labels: z.record(z.string(), z.string()).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
  deletionTimestamp: z.string().optional(),
});
const conditions = z.array(z.object({ type: z.string(), status: z.string() })).nullish();
const policy = z.enum(['Local', 'Cluster']).default('Cluster');

const named = z.object({ name: z.string() });

const serviceObject = z.object({
  kind: z.literal('Service'),
  metadata,
  spec: z.object({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).default('ClusterIP'),
    clusterIP: z.string().optional(),
    externalName: z.string().optional(),
    ports: listOf(
      z.object({
        name: z.string().default(''),
        port: z.number(),
        protocol,
        nodePort: z.number().optional(),
        appProtocol: z.string().nullish(),
      }),
    ),
    externalIPs: listOf(z.string()),
    externalTrafficPolicy: policy,
    internalTrafficPolicy: policy,
    sessionAffinity: z.enum(['None', 'ClientIP']).default('None'),
    healthCheckNodePort: z.number().optional(),
    loadBalancerSourceRanges: listOf(z.string()),
    loadBalancerClass: z.string().nullish(),
  }),
  status: z
    .object({
      loadBalancer: z
        .object({ ingress: listOf(z.object({ ip: z.string().optional(), ipMode: z.string().optional() })) })
        .optional(),
    })
    .optional(),
});

/** discovery.k8s.io v1, and v1beta1 of Kubernetes 1.17 to 1.24, where the node's name is in `topology`. */
const sliceObject = z.object({
  kind: z.literal('EndpointSlice'),
  metadata,
  addressType: z.string(),
  ports: listOf(z.object({ name: z.string().nullish(), port: z.number().nullish(), protocol })),
  endpoints: listOf(
    z.object({
      addresses: z.array(z.string()),
      conditions: z
        .object({
          ready: z.boolean().nullish(),
          serving: z.boolean().nullish(),
          terminating: z.boolean().nullish(),
        })
        .nullish(),
      nodeName: z.string().nullish(),
      topology: z.record(z.string(), z.string()).nullish(),
      targetRef: z.object({ kind: z.string(), name: z.string() }).nullish(),
      hints: z.object({ forZones: listOf(named), forNodes: listOf(named) }).nullish(),
    }),
  ),
});

const podObject = z.object({
  kind: z.literal('Pod'),
  metadata,
  spec: z.object({
    nodeName: z.string().optional(),
    hostname: z.string().optional(),
    subdomain: z.string().optional(),
    hostNetwork: z.boolean().default(false),
    dnsPolicy: z.string().default('ClusterFirst'),
    containers: listOf(
      z.object({
        image: z.string().default(ECHO_IMAGE),
        ports: listOf(
          z.object({
            name: z.string().default(''),
            containerPort: z.number(),
            protocol,
            hostPort: z.number().optional(),
            hostIP: z.string().optional(),
          }),
        ),
      }),
    ),
  }),
  status: z.object({ phase: z.string().optional(), podIP: z.string().optional(), conditions }),
});

const nodeObject = z.object({
  kind: z.literal('Node'),
  metadata,
  spec: z.object({ podCIDR: z.string().optional(), podCIDRs: listOf(z.string()) }),
  status: z.object({
    addresses: listOf(z.object({ type: z.string(), address: z.string() })),
    nodeInfo: z.object({ kubeProxyVersion: z.string().default(''), kubeletVersion: z.string() }),
  }),
});

const list = z.object({ items: z.array(z.looseObject({ kind: z.string() })) });

/** What `kubectl get services,endpointslices,pods,nodes -A -o json` says. */
export type ClusterObjects = Required<Pick<ClusterState, 'services' | 'externalNames' | 'pods' | 'nodes'>>;

/**
 * Reads `kubectl get services,endpointslices,pods,nodes -A -o json`; other kinds are passed over. What is in another
 * namespace than `home` is called NAMESPACE/NAME. Throws HarnessError where the text is not what kubectl prints.
 */
export function parseClusterObjects(text: string, home: string = ECHO_NAMESPACE): ClusterObjects {
  const ofKind = objectsIn(text);
  const named: Named = ({ namespace = home }, name) =>
    namespace === home ? { namespace, name } : { namespace, name: `${namespace}/${name}` };
  const endpoints = endpointsByService(ofKind('EndpointSlice', sliceObject), named);
  const services = ofKind('Service', serviceObject).map((service) => ({
    ...service,
    ...named(service.metadata, service.metadata.name),
  }));
  return {
    services: services
      .filter(({ spec }) => spec.type !== 'ExternalName')
      .map((service) => serviceOf(service, endpoints.get(service.name) ?? [])),
    externalNames: services.flatMap(({ namespace, name, spec: { type, externalName: target } }) =>
      type === 'ExternalName' && target !== undefined ? [{ namespace, name, target }] : [],
    ),
    pods: ofKind('Pod', podObject).map((pod) => podOf(pod, named(pod.metadata, pod.metadata.name))),
    nodes: ofKind('Node', nodeObject).map(nodeOf),
  };
}

/** Asks a list that kubectl printed for the objects of a kind; HarnessError where it is none, or they do not fit. */
export function objectsIn(text: string) {
  const { items } = parseWith(list, 'list of objects', parseJson(text));
  return <T extends z.ZodType>(kind: string, schema: T) =>
    parseWith(
      z.array(schema),
      `list of ${kind} objects`,
      items.filter((item) => item.kind === kind),
    );
}

/** Parses JSON that kubectl printed; HarnessError otherwise. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw notExpected('answer', [messageOf(cause)], cause);
  }
}

/** Applies a schema to what kubectl printed; HarnessError where it does not fit. */
export function parseWith<T extends z.ZodType>(schema: T, what: string, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw notExpected(what, z.prettifyError(parsed.error).split('\n'), parsed.error);
  return parsed.data;
}

function notExpected(what: string, details: readonly string[], cause: unknown): HarnessError {
  return new HarnessError(`kubectl's ${what} is not what was expected.`, { details, cause });
}

type Slice = z.output<typeof sliceObject>;
interface Name {
  readonly namespace: string;
  readonly name: string;
}
/** What something of the object's namespace is called. */
type Named = (of: z.output<typeof metadata>, name: string) => Name;

/** With the protocol of each of its ports. */
type SliceEndpoint = Endpoint & { readonly protocols: Readonly<Record<string, string>> };

function endpointsByService(
  slices: readonly Slice[],
  named: Named,
): ReadonlyMap<string, readonly SliceEndpoint[]> {
  const found = new Map<string, Map<string, SliceEndpoint>>();
  for (const slice of slices) {
    const label = slice.metadata.labels?.['kubernetes.io/service-name'];
    if (label === undefined || slice.addressType !== 'IPv4') continue;
    const service = named(slice.metadata, label).name;
    const known = found.get(service) ?? new Map<string, SliceEndpoint>();
    found.set(service, known);
    for (const each of slice.endpoints.flatMap((endpoint) => endpointsOf(slice, endpoint, named))) {
      // Ports that differ from pod to pod (a named targetPort) come in slices of their own; two pods of a node that
      // share its network have one address.
      const key = `${each.ip} ${each.pod ?? ''}`;
      const before = known.get(key);
      const protocols = { ...before?.protocols, ...each.protocols };
      known.set(key, { ...each, ports: { ...before?.ports, ...each.ports }, protocols });
    }
  }
  return new Map([...found].map(([service, known]) => [service, [...known.values()]]));
}

function endpointsOf(slice: Slice, endpoint: Slice['endpoints'][number], named: Named): SliceEndpoint[] {
  const { addresses, conditions: state, nodeName, topology, targetRef, hints } = endpoint;
  const node = nodeName ?? topology?.['kubernetes.io/hostname'];
  // A missing condition means yes for ready and serving, no for terminating.
  const ready = state?.ready ?? true;
  // kube-proxy takes the first address of an endpoint only.
  return addresses.slice(0, 1).map((ip) => ({
    ip,
    ...(node == null ? {} : { node }),
    ...(targetRef?.kind === 'Pod' ? { pod: named(slice.metadata, targetRef.name).name } : {}),
    ready,
    serving: state?.serving ?? true,
    terminating: state?.terminating ?? false,
    zones: (hints?.forZones ?? []).map(({ name }) => name),
    hintedNodes: (hints?.forNodes ?? []).map(({ name }) => name),
    ports: Object.fromEntries(
      slice.ports.flatMap(({ name, port }) => (port == null ? [] : [[name ?? '', port]])),
    ),
    protocols: Object.fromEntries(slice.ports.map(({ name, protocol: used }) => [name ?? '', used])),
  }));
}

function serviceOf(
  { name, namespace, metadata: { annotations }, spec, status }: z.output<typeof serviceObject> & Name,
  found: readonly SliceEndpoint[],
): EchoService {
  const endpoints = found.map((endpoint) => ofPorts(spec.ports, endpoint));
  const { clusterIP } = spec;
  const ingress = status?.loadBalancer?.ingress ?? [];
  return {
    name,
    namespace,
    type: spec.type === 'ExternalName' ? 'ClusterIP' : spec.type,
    ...(!clusterIP || clusterIP === 'None' ? {} : { clusterIp: clusterIP }),
    ports: spec.ports.flatMap(({ name: portName, port, protocol: used, nodePort, appProtocol }) => {
      if (!isProbed(used)) return [];
      const isHttp = used === 'tcp' && speaksHttp(portName, appProtocol, annotations);
      return [
        {
          name: portName,
          port,
          protocol: used,
          ...(nodePort ? { nodePort } : {}),
          ...(isHttp ? { isHttp } : {}),
        },
      ];
    }),
    ...(annotations?.[STATUS] === undefined ? {} : { httpStatus: Number(annotations[STATUS]) }),
    externalIps: [...new Set(spec.externalIPs)],
    // A load balancer's address means something for that type only; the status outlives a change of type.
    ...proxied(ingress),
    loadBalancerIps: spec.type === 'LoadBalancer' ? ingress.flatMap(({ ip }) => ip ?? []) : [],
    ...(isPending(spec, ingress) ? { isPending: true as const } : {}),
    sourceRanges: spec.loadBalancerSourceRanges,
    policy: spec.externalTrafficPolicy,
    internalPolicy: spec.internalTrafficPolicy,
    affinity: spec.sessionAffinity,
    ...(spec.healthCheckNodePort ? { healthCheckNodePort: spec.healthCheckNodePort } : {}),
    ...(asksForZones(annotations) ? { asksForZones: true } : {}),
    endpoints,
    backends: sorted(endpoints.filter(({ ready }) => ready).map(({ ip }) => ip)),
  };
}

/** Whether it waits for an address of whoever gives them to services that name nobody. */
function isPending(
  { type, externalIPs, loadBalancerClass }: z.output<typeof serviceObject>['spec'],
  ingress: readonly unknown[],
): boolean {
  return type === 'LoadBalancer' && !loadBalancerClass && externalIPs.length + ingress.length === 0;
}

/** A slice's port is the service's where both name and protocol are the same. */
function ofPorts(
  ports: readonly { readonly name: string; readonly protocol: string }[],
  { protocols, ...endpoint }: SliceEndpoint,
): Endpoint {
  const isOwn = (name: string) =>
    ports.some((port) => port.name === name && port.protocol === protocols[name]);
  return {
    ...endpoint,
    ports: Object.fromEntries(Object.entries(endpoint.ports).filter(([name]) => isOwn(name))),
  };
}

/** Addresses whose ipMode says that the load balancer delivers to the nodes itself: kube-proxy has no rule for them. */
function proxied(
  ingress: readonly { readonly ip?: string | undefined; readonly ipMode?: string | undefined }[],
): Pick<EchoService, 'proxiedIps'> {
  const proxiedIps = ingress.flatMap(({ ip, ipMode }) =>
    ip !== undefined && ipMode === 'Proxy' ? [ip] : [],
  );
  return proxiedIps.length === 0 ? {} : { proxiedIps };
}

/** What kube-proxy 1.24 to 1.30 asks for before it follows hints (pkg/proxy/topology.go); the second since 1.27. */
const ASKS_FOR_ZONES = ['service.kubernetes.io/topology-aware-hints', 'service.kubernetes.io/topology-mode'];

function asksForZones(annotations: Readonly<Record<string, string>> | null | undefined): boolean {
  return ASKS_FOR_ZONES.some((name) => /^[Aa]uto$/.test(annotations?.[name] ?? ''));
}

function podOf(
  { metadata: { deletionTimestamp }, spec, status }: z.output<typeof podObject>,
  named: Name,
): EchoPod {
  const isReady = (status.conditions ?? []).some(
    ({ type, status: value }) => type === 'Ready' && value === 'True',
  );
  // The address of a pod that has ended may be another pod's by now.
  const hasEnded = status.phase === 'Succeeded' || status.phase === 'Failed';
  return {
    ...named,
    ...(status.podIP === undefined || hasEnded ? {} : { ip: status.podIP }),
    ...(spec.nodeName === undefined ? {} : { node: spec.nodeName }),
    ...(spec.hostname === undefined ? {} : { hostname: spec.hostname }),
    ...(spec.subdomain === undefined ? {} : { subdomain: spec.subdomain }),
    ready: isReady && deletionTimestamp === undefined,
    ...(deletionTimestamp === undefined ? {} : { isDeleted: true as const }),
    hostNetwork: spec.hostNetwork,
    // ClusterFirst means the node's own resolver for a pod in the node's network (dns-pod-service).
    usesClusterDns: spec.hostNetwork
      ? spec.dnsPolicy === 'ClusterFirstWithHostNet'
      : ['ClusterFirst', 'ClusterFirstWithHostNet'].includes(spec.dnsPolicy),
    // What runs the lab's own image in the lab's own namespace: its logs are read, too.
    ...(named.name.includes('/') || spec.containers.some(({ image }) => image !== ECHO_IMAGE)
      ? { isForeign: true as const }
      : {}),
    ports: spec.containers.flatMap(({ ports }) =>
      ports.flatMap(({ name, containerPort: port, protocol: transport, hostPort, hostIP }): PodPort[] => {
        if (!isProbed(transport)) return [];
        const isHttp = transport === 'tcp' && speaksHttp(name) ? { isHttp: true as const } : {};
        if (!hostPort || spec.hostNetwork) return [{ port, protocol: transport, ...isHttp }];
        const ip = !hostIP || hostIP === '0.0.0.0' ? {} : { ip: hostIP };
        return [{ port, protocol: transport, ...isHttp, host: { port: hostPort, ...ip } }];
      }),
    ),
  };
}

/** Annotations of a service: "http" or "none"; the status that GET / must have. */
const TALK = 'lab.internal/talk';
const STATUS = 'lab.internal/http-status';

function speaksHttp(
  port: string,
  appProtocol?: string | null,
  annotations?: Readonly<Record<string, string>> | null,
): boolean {
  const said = annotations?.[TALK];
  if (said !== undefined) return said === 'http';
  return (appProtocol ?? port) === 'http';
}

const texts = z.array(z.string());

function nodeOf({
  metadata: { name, labels, annotations },
  spec,
  status,
}: z.output<typeof nodeObject>): NodeState {
  const k3s = annotations?.['k3s.io/node-args'];
  const version = status.nodeInfo.kubeProxyVersion || status.nodeInfo.kubeletVersion;
  return {
    name,
    addresses: status.addresses.filter(({ type }) => type !== 'Hostname').map(({ address }) => address),
    podCidrs: spec.podCIDRs.length > 0 ? spec.podCIDRs : spec.podCIDR === undefined ? [] : [spec.podCIDR],
    labels: labels ?? {},
    proxyVersion: version.replace(/^v/, ''),
    ...(k3s === undefined
      ? {}
      : { k3sArguments: parseWith(texts, `annotation k3s.io/node-args of node ${name}`, parseJson(k3s)) }),
  };
}

/** The echo servers speak TCP and UDP; another protocol has no probe. */
function isProbed(name: string): name is PortProtocol {
  return name === 'tcp' || name === 'udp';
}
