import { parseEndpoints } from '../../scripts/matrix/endpoints.ts';
import type { Cell, Observation } from '../../scripts/matrix/types.ts';
import type { Vantage } from '../../scripts/matrix/vantages.ts';
import { planLab } from '../../scripts/plan/plan.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { parseSpec } from '../../scripts/spec/load.ts';
import type { EchoVariant } from '../../scripts/spec/types.ts';

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

/** What `kubectl get services,endpoints,pods -n echo-server -o json` says, written after API objects of v1.20. */
export function kubectlJson({
  variant = 'full',
  ready = ALL,
  edit = (service) => service,
}: Wish = {}): string {
  const services = (variant === 'full' ? fullServices() : simpleServices()).map(edit);
  const servers = POD_IPS.map((ip, index) => ({ name: `echo-server${index + 1}`, ip, node: NODES[index] }));
  const isReady = ({ name }: { name: string }) => ready.includes(name);
  const addressOf = ({ name, ip, node }: (typeof servers)[number]) => ({
    ip,
    nodeName: node,
    targetRef: { kind: 'Pod', name },
  });
  const endpoints = services.map((service) => ({
    kind: 'Endpoints',
    metadata: { name: service.metadata.name },
    ...(servers.length > 0
      ? {
          subsets: [
            {
              ...(servers.some(isReady) ? { addresses: servers.filter(isReady).map(addressOf) } : {}),
              ...(servers.every(isReady)
                ? {}
                : { notReadyAddresses: servers.filter((each) => !isReady(each)).map(addressOf) }),
            },
          ],
        }
      : {}),
  }));
  const pods = [
    ...servers.map(({ name, ip, node }, index) => ({
      kind: 'Pod',
      metadata: { name },
      spec: { nodeName: node, hostname: `server${index + 1}`, subdomain: 'headless', containers: [] },
      status: { podIP: ip, conditions: [{ type: 'Ready', status: isReady({ name }) ? 'True' : 'False' }] },
    })),
    {
      kind: 'Pod',
      metadata: { name: 'echo-client1' },
      spec: { nodeName: 'k8sworker1', containers: [] },
      status: {
        podIP: CLIENT_IP,
        conditions: [{ type: 'Ready', status: ready.includes('echo-client1') ? 'True' : 'False' }],
      },
    },
  ];
  return JSON.stringify({ kind: 'List', apiVersion: 'v1', items: [...services, ...endpoints, ...pods] });
}

/** The observed state for a wish. */
export function endpointsOf(wish: Wish = {}) {
  const text = kubectlJson(wish);
  return parseEndpoints(text, text, text);
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

/** A vantage point whose probe prints whatever `answer` makes of each cell, and counts its calls. */
export function fakeVantage(
  name: string,
  cells: readonly Cell[],
  answer: (cell: Cell, call: number) => string | undefined = (cell) => lineOf(cell),
  end: (count: number) => string | undefined = (count) => JSON.stringify({ done: true, count }),
): Vantage & { readonly inputs: string[] } {
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
