import { announcements } from '../../scripts/matrix/network.ts';
import type { ProbeSource } from '../../scripts/matrix/probe-sources.ts';
import { type ClusterObjects, parseClusterObjects } from '../../scripts/matrix/state/cluster.ts';
import type { ObservedState, ProxySettings } from '../../scripts/matrix/state/types.ts';
import type { Cell, Observation } from '../../scripts/matrix/types.ts';
import { planLab } from '../../scripts/plan/plan.ts';
import { type LabPlan, machinesOf, theMachine } from '../../scripts/plan/types.ts';
import { parseSpec } from '../../scripts/spec/load.ts';
import type { EchoVariant } from '../../scripts/spec/types.ts';
import { kernelsOf } from './network-of.ts';

/** The default lab's plan, or another one from the text of a spec. */
export function planOf(text = 'version: 1\n'): LabPlan {
  return planLab(parseSpec(text, 'lab.yaml'), {
    driver: { value: 'incus', why: 'test' },
    distribution: { value: 'kubeadm', why: 'test' },
    artifacts: { value: 'debian', why: 'test' },
    cni: { value: 'bird', why: 'test' },
  });
}

/** A pod's address: the node's block, tenth address. Servers on workers 1..3, the client on worker 1. */
export const POD_IPS = ['10.255.0.74', '10.255.0.138', '10.255.0.202'] as const;
export const CLIENT_IP = '10.255.0.75';
const NODES = ['k8sworker1', 'k8sworker2', 'k8sworker3'];

export interface Wish {
  readonly variant?: EchoVariant;
  /** Names of the ready pods; default all of them and the client. */
  readonly ready?: readonly string[];
  /** Changes services before they are serialized. */
  readonly edit?: (service: KubeService) => KubeService;
}

export interface KubeService {
  kind: 'Service';
  metadata: { name: string; namespace: string };
  spec: {
    type: string;
    clusterIP: string;
    ports?: { name: string; port: number; protocol: string; targetPort: number; nodePort?: number }[];
    externalIPs?: string[];
    externalTrafficPolicy?: string;
    healthCheckNodePort?: number;
    selector: Record<string, string>;
  };
  status: { loadBalancer: object };
}

const ALL = ['echo-server1', 'echo-server2', 'echo-server3', 'echo-client1'];

/** What `kubectl get services,endpointslices,pods,nodes -n echo-server -o json` says, written after objects of v1.20. */
export function kubectlJson(
  { variant = 'full', ready = ALL, edit = (service) => service }: Wish = {},
  plan: LabPlan = planOf(),
): string {
  const services = (variant === 'full' ? fullServices() : simpleServices()).map(edit);
  const servers = POD_IPS.map((ip, index) => ({ name: `echo-server${index + 1}`, ip, node: NODES[index] }));
  const isReady = ({ name }: { name: string }) => ready.includes(name);
  const slices = services.map(({ metadata: { name }, spec: { ports } }) => ({
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-x7kq2`,
      namespace: 'echo-server',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    ports: ports?.map((port) => ({ name: port.name, port: port.port, protocol: port.protocol })) ?? null,
    endpoints: servers.map((server) => ({
      addresses: [server.ip],
      conditions: { ready: isReady(server) },
      targetRef: { kind: 'Pod', name: server.name },
      topology: { 'kubernetes.io/hostname': server.node },
    })),
  }));
  const nodes = machinesOf(plan, 'control-plane', 'worker').map(({ name, address, podBlock }) => ({
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: { podCIDR: podBlock, podCIDRs: [podBlock] },
    status: {
      addresses: [
        { type: 'InternalIP', address },
        { type: 'Hostname', address: name },
      ],
      conditions: [{ type: 'Ready', status: 'True' }],
      nodeInfo: { kubeProxyVersion: 'v1.20.2', kubeletVersion: 'v1.20.2' },
    },
  }));
  const pods = [
    ...servers.map(({ name, ip, node }, index) => ({
      kind: 'Pod',
      metadata: { name },
      spec: {
        nodeName: node,
        hostname: `server${index + 1}`,
        subdomain: 'headless',
        containers: [
          { ports: [{ containerPort: 5678, protocol: 'UDP' }] },
          { ports: [{ containerPort: 1234, protocol: 'TCP' }] },
        ],
      },
      status: { podIP: ip, conditions: [{ type: 'Ready', status: isReady({ name }) ? 'True' : 'False' }] },
    })),
    {
      kind: 'Pod',
      metadata: { name: 'echo-client1' },
      spec: { nodeName: 'k8sworker1', containers: [{}] },
      status: {
        podIP: CLIENT_IP,
        conditions: [{ type: 'Ready', status: ready.includes('echo-client1') ? 'True' : 'False' }],
      },
    },
  ];
  return JSON.stringify({
    kind: 'List',
    apiVersion: 'v1',
    items: [...services, ...slices, ...pods, ...nodes],
  });
}

/** kube-proxy as kubeadm sets it up in the lab. */
export const PROXY: ProxySettings = {
  mode: 'iptables',
  clusterCidr: '10.255.0.0/16',
  detectLocalMode: 'ClusterCIDR',
  nodePortAddresses: [],
  masqueradeAll: false,
  localhostNodePorts: true,
};

/** The observed state for a wish, in a lab whose routes are as they should be. */
export function endpointsOf(wish: Wish = {}, plan: LabPlan = planOf()): ObservedState {
  return stateOf(parseClusterObjects(kubectlJson(wish, plan)), plan);
}

/** The observed state of a healthy lab with these objects. */
export function stateOf(cluster: ClusterObjects, plan: LabPlan = planOf()): ObservedState {
  const announced = announcements(plan, cluster);
  return {
    ...cluster,
    proxy: PROXY,
    domain: plan.kubernetes.domain,
    machines: kernelsOf({
      subnet: plan.network.subnet,
      serviceCidr: plan.kubernetes.serviceCidr,
      podCidr: plan.kubernetes.podCidr,
      nodes: machinesOf(plan, 'control-plane', 'worker').map(({ name, address, podBlock = '' }) => ({
        name,
        address,
        block: podBlock,
      })),
      peers: machinesOf(plan, 'worker').map(({ name }) => name),
      router: theMachine(plan, 'router'),
      clients: machinesOf(plan, 'client').map(({ name, address, routes }) => ({
        name,
        address,
        routes: routes.filter(({ via }) => via !== undefined).map(({ to }) => to),
      })),
      pods: cluster.pods.flatMap(({ ip, node }) =>
        ip === undefined || node === undefined ? [] : [{ ip, node }],
      ),
      announced: new Map(announced.map(({ prefix, nodes }) => [prefix.split('/')[0] ?? '', nodes])),
    }),
  };
}

function serviceObject(name: string, spec: Partial<KubeService['spec']>): KubeService {
  return {
    kind: 'Service',
    metadata: { name, namespace: 'echo-server' },
    spec: { type: 'ClusterIP', clusterIP: 'None', selector: { app: 'echo-server' }, ...spec },
    status: { loadBalancer: {} },
  };
}

function tcp(nodePort?: number) {
  const port = { name: 'tcp', port: 1234, protocol: 'TCP', targetPort: 1234 };
  return [nodePort === undefined ? port : { ...port, nodePort }];
}

function udp(nodePort: number) {
  return [{ name: 'udp', port: 5678, protocol: 'UDP', targetPort: 5678, nodePort }];
}

function fullServices(): KubeService[] {
  return [
    serviceObject('echo-ci-tcp', { clusterIP: '10.98.176.251', ports: tcp() }),
    serviceObject('echo-lb-tcp', {
      type: 'LoadBalancer',
      clusterIP: '10.100.215.183',
      ports: tcp(32153),
      externalIPs: ['2.2.2.2'],
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 31999,
    }),
    serviceObject('echo-np-tcp', {
      type: 'NodePort',
      clusterIP: '10.104.117.235',
      ports: tcp(31234),
      externalTrafficPolicy: 'Local',
    }),
    serviceObject('echo-server-udp', {
      type: 'NodePort',
      clusterIP: '10.107.216.154',
      ports: udp(31678),
      externalTrafficPolicy: 'Local',
    }),
    serviceObject('headless', {}),
  ];
}

function simpleServices(): KubeService[] {
  return fullServices()
    .filter(({ metadata: { name } }) => ['echo-np-tcp', 'echo-server-udp', 'headless'].includes(name))
    .map((service) =>
      service.spec.type === 'NodePort'
        ? { ...service, spec: { ...service.spec, externalTrafficPolicy: 'Cluster' } }
        : service,
    );
}

/** A result line of probe.py for a cell that ends exactly as expected. */
export function lineOf(cell: Cell, change: Partial<Record<string, unknown>> = {}): string {
  const { outcome, servers, clients } = cell.expected;
  return JSON.stringify({
    id: cell.id,
    outcome,
    server: servers[0] ?? null,
    serverPort: cell.port,
    client: clients[0] ?? null,
    clientPort: 40000,
    connectMs: outcome === 'ok' && cell.protocol === 'tcp' ? 0.4 : null,
    rttMs: null,
    attempts: 1,
    errno: null,
    address: cell.address,
    localAddress: null,
    detail: null,
    ...change,
  });
}

/** An observation that is exactly what the cell expects. */
export function rightly(cell: Cell, change: Partial<Observation> = {}): Observation {
  return {
    outcome: cell.expected.outcome,
    server: cell.expected.servers[0] ?? null,
    client: cell.expected.clients[0] ?? null,
    attempts: 1,
    connectMs: null,
    detail: null,
    ...change,
  };
}

/** A source whose probe prints whatever `answer` makes of each cell, and counts its calls. */
export function fakeProbeSource(
  name: string,
  cells: readonly Cell[],
  answer: (cell: Cell, call: number) => string | undefined = (cell) => lineOf(cell),
  end: (count: number) => string | undefined = (count) => JSON.stringify({ done: true, count }),
): ProbeSource & { readonly inputs: string[] } {
  const inputs: string[] = [];
  return {
    name,
    inputs,
    run: async (input, onLine) => {
      inputs.push(input);
      const asked = new Set((JSON.parse(input) as { cells: { id: string }[] }).cells.map(({ id }) => id));
      for (const cell of cells.filter(({ id }) => asked.has(id))) {
        const line = answer(cell, inputs.length);
        if (line !== undefined) onLine(line);
      }
      const last = end(asked.size);
      if (last !== undefined) onLine(last);
    },
  };
}
