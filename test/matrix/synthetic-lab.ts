import type { EchoPod, EchoService, Endpoint } from '../../scripts/matrix/endpoints.ts';
import type {
  MachineState,
  NodeState,
  ObservedState,
  ProxySettings,
} from '../../scripts/matrix/state/types.ts';
import type { FlowSource, PortProtocol, Target } from '../../scripts/matrix/types.ts';
import { kernelsOf } from './network-of.ts';

/** A pod of a synthetic lab. `on` is a node's name. */
export interface PodWish {
  readonly name: string;
  readonly on: string;
  readonly ready?: boolean;
  readonly terminating?: boolean;
  readonly hostNetwork?: boolean;
  /** It is behind the service; default true. */
  readonly serves?: boolean;
}

export interface LabWish {
  readonly workers?: number;
  readonly version?: string;
  readonly pods?: readonly PodWish[];
  readonly service?: Partial<EchoService>;
  readonly protocol?: PortProtocol;
  readonly proxy?: Partial<ProxySettings>;
  /** Zones of the nodes and of the endpoints' hints, by node. */
  readonly zones?: Readonly<Record<string, string>>;
  readonly hashPolicy?: number;
  readonly maximumPaths?: number;
  /** Nodes that announce the external address; default: as Local and Cluster want it. */
  readonly announcing?: readonly string[];
  readonly machine?: (machine: MachineState) => MachineState;
}

export const EXTERNAL = '203.0.113.5';
export const CLUSTER_IP = '10.3.0.10';
export const POD_CIDR = '10.2.0.0/16';
const SUBNET = '10.1.0.0/16';
const SERVICE_CIDR = '10.3.0.0/16';
export const PORT = 80;
export const NODE_PORT = 30080;

/** Nothing here is called or numbered as in the default lab. */
export const ADDRESS = { m: '10.1.0.9', r: '10.1.0.8', near: '10.1.0.7', far: '10.1.0.6' } as const;

/** The address of worker number n, from 1 on: w1 is 10.1.1.1. */
export function workerAddress(n: number): string {
  return `10.1.${1 + Math.floor((n - 1) / 250)}.${1 + ((n - 1) % 250)}`;
}

/** The address of a pod on node number n (the control plane is 0). */
export function podAddress(n: number, index: number): string {
  return `10.2.${Math.floor(n / 16)}.${(n % 16) * 16 + 2 + index}`;
}

/** p1 on w1 and p2 on w2 serve; the clients c1 on w1 and c3 on w3 do not. */
export const PODS: readonly PodWish[] = [
  { name: 'p1', on: 'w1' },
  { name: 'p2', on: 'w2' },
  { name: 'c1', on: 'w1', serves: false },
  { name: 'c3', on: 'w3', serves: false },
];

/** The state of a lab with a control plane `m`, workers `w1`.., a router `r`, a client `near` with routes and `far` without. */
export function syntheticLab(wish: LabWish = {}): ObservedState {
  const { workers = 3, version = '1.20.2', pods: wished = PODS, protocol = 'tcp', hashPolicy = 1 } = wish;
  const names = ['m', ...Array.from({ length: workers }, (_, index) => `w${index + 1}`)];
  const nodes = names.map((name, index) => nodeOf(wish, name, index, version));
  const numberOf = new Map(names.map((name, index) => [name, index]));
  const counts = new Map<string, number>();
  const pods = wished.map((pod): EchoPod & { readonly ip: string; readonly node: string } => {
    const index = counts.get(pod.on) ?? 0;
    counts.set(pod.on, index + 1);
    const number = numberOf.get(pod.on) ?? 0;
    return {
      name: pod.name,
      namespace: 'echo-server',
      ip: pod.hostNetwork ? (nodes[number]?.addresses[0] ?? '') : podAddress(number, index),
      node: pod.on,
      ready: pod.ready ?? !pod.terminating,
      hostNetwork: pod.hostNetwork ?? false,
      usesClusterDns: !pod.hostNetwork,
      ports: [{ port: PORT, protocol }],
    };
  });
  const service = serviceOf(wish, wished, pods);
  const ready = (node: string) => service.endpoints.some((each) => each.ready && each.node === node);
  const announcing = wish.announcing ?? (service.policy === 'Cluster' ? names : names.filter(ready));
  const kernels = kernelsOf({
    subnet: SUBNET,
    serviceCidr: SERVICE_CIDR,
    podCidr: POD_CIDR,
    nodes: nodes.map(({ name, addresses: [address = ''], podCidrs: [block = ''] }) => ({
      name,
      address,
      block,
    })),
    peers: names.filter((name) => name !== 'm'),
    router: { name: 'r', address: ADDRESS.r },
    clients: [
      { name: 'near', address: ADDRESS.near, routes: [SERVICE_CIDR, POD_CIDR, `${EXTERNAL}/32`] },
      { name: 'far', address: ADDRESS.far, routes: [] },
    ],
    pods: pods.map(({ ip, node }) => ({ ip, node })),
    announced: new Map([[EXTERNAL, announcing]]),
    hashPolicy,
    ...(wish.maximumPaths === undefined ? {} : { maximumPaths: wish.maximumPaths }),
  });
  const { machine: edit = (machine) => machine } = wish;
  return {
    services: [service],
    pods,
    nodes,
    domain: 'lab.test',
    proxy: {
      mode: 'iptables',
      clusterCidr: POD_CIDR,
      detectLocalMode: 'ClusterCIDR',
      nodePortAddresses: [],
      masqueradeAll: false,
      localhostNodePorts: true,
      ...wish.proxy,
    },
    machines: new Map([...kernels].map(([name, machine]) => [name, edit(machine)])),
  };
}

/** A proxy without a clusterCIDR: it cannot tell pods from others. */
export function withoutClusterCidr(state: ObservedState): ObservedState {
  const { clusterCidr: _, ...proxy } = state.proxy;
  return { ...state, proxy };
}

function nodeOf({ zones }: LabWish, name: string, index: number, version: string): NodeState {
  return {
    name,
    addresses: [index === 0 ? ADDRESS.m : workerAddress(index)],
    podCidrs: [`10.2.${Math.floor(index / 16)}.${(index % 16) * 16}/28`],
    labels: zones?.[name] === undefined ? {} : { 'topology.kubernetes.io/zone': zones[name] },
    proxyVersion: version,
  };
}

function serviceOf(
  { service, protocol = 'tcp', zones }: LabWish,
  wished: readonly PodWish[],
  pods: readonly (EchoPod & { readonly ip: string; readonly node: string })[],
): EchoService {
  const endpoints = wished.flatMap((wish, index): Endpoint[] => {
    const pod = pods[index];
    if (pod === undefined || wish.serves === false) return [];
    return [
      {
        ip: pod.ip,
        node: pod.node,
        pod: pod.name,
        ready: pod.ready,
        serving: pod.ready || wish.terminating === true,
        terminating: wish.terminating ?? false,
        hintedNodes: [],
        zones: zones?.[pod.node] === undefined ? [] : [zones[pod.node] ?? ''],
        ports: { http: PORT },
      },
    ];
  });
  return {
    name: 'web',
    namespace: 'shop',
    type: 'LoadBalancer',
    clusterIp: CLUSTER_IP,
    ports: [{ name: 'http', port: PORT, protocol, nodePort: NODE_PORT }],
    externalIps: [EXTERNAL],
    loadBalancerIps: [],
    sourceRanges: [],
    policy: 'Local',
    internalPolicy: 'Cluster',
    affinity: 'None',
    healthCheckNodePort: 30081,
    endpoints,
    backends: endpoints.filter(({ ready }) => ready).map(({ ip }) => ip),
    ...service,
  };
}

/** A source by name: a machine, or pod/NAME. */
export function flowSource(state: ObservedState, name: string): FlowSource {
  const pod = state.pods.find((each) => `pod/${each.name}` === name);
  if (pod !== undefined)
    return { kind: 'pod', name, node: pod.node ?? '', ...(pod.ip === undefined ? {} : { address: pod.ip }) };
  const address = state.machines.get(name)?.interfaces[1]?.addresses[0]?.address ?? '';
  const kind = state.nodes.some((node) => node.name === name) ? 'node' : name === 'r' ? 'router' : 'client';
  return { kind, name, address };
}

/** A target by name: `cluster-ip`, `external-ip`, `node-port/NODE`, `pod/NAME`, `name`, or an address of a node port. */
export function targetNamed(state: ObservedState, to: string): Target {
  const [service] = state.services;
  const protocol = service?.ports[0]?.protocol ?? 'tcp';
  const [kind = '', name = ''] = to.split('/');
  const common = { to, protocol, service: service?.name ?? '' };
  switch (kind) {
    case 'cluster-ip':
      return { ...common, kind, address: CLUSTER_IP, port: PORT };
    case 'external-ip':
      return { ...common, kind, address: EXTERNAL, port: PORT };
    case 'node-port':
      return {
        ...common,
        kind,
        address: state.nodes.find((node) => node.name === name)?.addresses[0] ?? name,
        port: NODE_PORT,
      };
    case 'name':
      return { ...common, kind, address: 'web.shop.svc.lab.test', port: PORT, pods: service?.backends ?? [] };
    default:
      return {
        kind: 'pod',
        to,
        protocol,
        address: state.pods.find((pod) => pod.name === name)?.ip ?? '',
        port: PORT,
      };
  }
}
