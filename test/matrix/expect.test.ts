import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import type { Cell } from '../../scripts/matrix/types.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { CLIENT_IP, endpointsOf, POD_IPS, planOf, type Wish } from './fixtures.ts';

const [POD1, POD2, POD3] = POD_IPS;
const ALL = [...POD_IPS];
const MASTER = '192.168.13.30';
const [WORKER1, WORKER2, WORKER3] = ['192.168.13.35', '192.168.13.36', '192.168.13.37'];
const WORKERS = [WORKER1, WORKER2, WORKER3];
const BGP = '192.168.13.39';
const ROUTED = '192.168.13.40';
const UBUNTU = '192.168.13.104';

function cellsOf(wish: Wish = {}, plan: LabPlan = planOf()): ReadonlyMap<string, Cell> {
  return new Map(buildCells(plan, endpointsOf(wish, plan)).map((cell) => [cell.id, cell]));
}

type Row = readonly [id: string, outcome: string, servers?: readonly string[], clients?: readonly string[]];

function check(cells: ReadonlyMap<string, Cell>, [id, outcome, servers = [], clients = []]: Row): void {
  const cell = cells.get(id);
  expect(cell, `there is no cell ${id}`).toBeDefined();
  const { why, chain, ...expected } = cell?.expected ?? {};
  expect(expected).toEqual({ outcome, servers, clients });
  expect(why).toMatch(/^\S.{20,}\.$/);
  expect(why).not.toContain('{at}');
  expect(chain?.length).toBeGreaterThan(0);
}

describe('a service that shares 2.2.2.2 with another one and has one backend, policy Local', () => {
  const state = endpointsOf();
  const shared = state.services.flatMap((service) =>
    service.name === 'echo-lb-tcp'
      ? [
          service,
          {
            ...service,
            name: 'second',
            clusterIp: '10.96.77.77',
            ports: service.ports.map((port) => ({ ...port, port: 1235, nodePort: 32154 })),
            endpoints: service.endpoints.filter(({ ip }) => ip === POD1),
            backends: [POD1],
          },
        ]
      : [service],
  );
  const cells = buildCells(planOf(), { ...state, services: shared });
  const cell = (from: string) => cells.find(({ id }) => id === `${from}>second/2.2.2.2:1235/tcp`);

  it.each(['bgp', 'routed'])('loses connections from %s at the next hops without an endpoint', (from) => {
    expect(cell(from)).toMatchObject({
      chance: 'chance decides between ok and timeout',
      expected: { outcome: 'ok', servers: [POD1] },
    });
    expect(cell(from)?.expected.why).toContain(
      'bgp spreads connections over k8sworker1, k8sworker2 and k8sworker3, of which k8sworker2 and k8sworker3 lose it: each of them has no ready pod of its own and drops the packet',
    );
    expect(cell(from)?.skipped).toBeUndefined();
  });

  it('loses no others', () => {
    const found = cells.filter(({ chance }) => chance !== undefined).map(({ id }) => id);
    expect(found).toEqual(['k8smaster1', 'bgp', 'routed'].map((from) => `${from}>second/2.2.2.2:1235/tcp`));
  });
});

describe('full variant, all pods ready', () => {
  const cells = cellsOf();
  const rows: readonly Row[] = [
    // Pod addresses: routed everywhere but for the client without routes, and never translated.
    ['k8smaster1>pod/echo-server1:1234/tcp', 'ok', [POD1], [MASTER]],
    ['k8sworker1>pod/echo-server1:5678/udp', 'ok', [POD1], [WORKER1]],
    ['k8sworker1>pod/echo-server2:1234/tcp', 'ok', [POD2], [WORKER1]],
    ['pod/echo-client1>pod/echo-server3:1234/tcp', 'ok', [POD3], [CLIENT_IP]],
    ['bgp>pod/echo-server2:1234/tcp', 'ok', [POD2], [BGP]],
    ['routed>pod/echo-server2:5678/udp', 'ok', [POD2], [ROUTED]],
    ['ubuntu>pod/echo-server2:1234/tcp', 'no-route'],
    // Names: for pods only.
    ['pod/echo-client1>headless:1234/tcp', 'ok', ALL, [CLIENT_IP]],
    ['pod/echo-client1>server2.headless:5678/udp', 'ok', [POD2], [CLIENT_IP]],
    ['k8smaster1>headless:1234/tcp', 'dns-error'],
    ['k8sworker2>server2.headless:1234/tcp', 'dns-error'],
    ['bgp>headless:5678/udp', 'dns-error'],
    ['ubuntu>server1.headless:1234/tcp', 'dns-error'],
    // ClusterIP: masqueraded unless the source is a pod.
    ['k8smaster1>echo-ci-tcp/cluster-ip:1234/tcp', 'ok', ALL, [MASTER]],
    ['k8sworker3>echo-server-udp/cluster-ip:5678/udp', 'ok', ALL, [WORKER3]],
    ['pod/echo-client1>echo-lb-tcp/cluster-ip:1234/tcp', 'ok', ALL, [CLIENT_IP]],
    ['bgp>echo-ci-tcp/cluster-ip:1234/tcp', 'ok', ALL, WORKERS],
    ['routed>echo-np-tcp/cluster-ip:1234/tcp', 'ok', ALL, WORKERS],
    ['ubuntu>echo-ci-tcp/cluster-ip:1234/tcp', 'no-route'],
    // NodePort, policy Local: a node's own pods and processes get any pod, everybody else the node's own pod.
    ['k8sworker1>echo-np-tcp/k8sworker1:31234/tcp', 'ok', ALL, [WORKER1]],
    ['k8smaster1>echo-np-tcp/k8smaster1:31234/tcp', 'ok', ALL, [MASTER]],
    ['k8smaster1>echo-np-tcp/k8sworker2:31234/tcp', 'ok', [POD2], [MASTER]],
    ['k8sworker3>echo-server-udp/k8sworker1:31678/udp', 'ok', [POD1], [WORKER3]],
    ['k8sworker3>echo-np-tcp/k8smaster1:31234/tcp', 'timeout'],
    ['pod/echo-client1>echo-np-tcp/k8sworker1:31234/tcp', 'ok', ALL, [CLIENT_IP]],
    ['pod/echo-client1>echo-np-tcp/k8sworker2:31234/tcp', 'ok', [POD2], [WORKER1]],
    ['pod/echo-client1>echo-lb-tcp/k8smaster1:32153/tcp', 'timeout'],
    ['bgp>echo-np-tcp/k8sworker3:31234/tcp', 'ok', [POD3], [BGP]],
    ['routed>echo-lb-tcp/k8sworker2:32153/tcp', 'ok', [POD2], [ROUTED]],
    ['ubuntu>echo-np-tcp/k8sworker1:31234/tcp', 'ok', [POD1], [UBUNTU]],
    ['ubuntu>echo-server-udp/k8sworker2:31678/udp', 'ok', [POD2], [UBUNTU]],
    ['ubuntu>echo-np-tcp/k8smaster1:31234/tcp', 'timeout'],
    ['ubuntu>echo-server-udp/k8smaster1:31678/udp', 'timeout'],
    // The external IP.
    ['k8sworker1>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['k8smaster1>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, [MASTER]],
    ['pod/echo-client1>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, [CLIENT_IP]],
    ['bgp>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, [BGP]],
    ['routed>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, [ROUTED]],
    ['ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
  ];
  it.each(rows.map((row) => ({ id: row[0], outcome: row[1], row })))('$id: $outcome', ({ row }) =>
    check(cells, row),
  );
});

describe('full variant, only the pod on k8sworker2 ready', () => {
  const cells = cellsOf({ ready: ['echo-server2', 'echo-client1'] });
  const rows: readonly Row[] = [
    ['k8sworker1>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', [POD2], [WORKER1]],
    ['k8sworker2>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['routed>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', [POD2], [ROUTED]],
    ['routed>echo-np-tcp/k8sworker1:31234/tcp', 'timeout'],
    ['routed>echo-np-tcp/k8sworker2:31234/tcp', 'ok', [POD2], [ROUTED]],
    ['k8sworker1>echo-np-tcp/k8sworker1:31234/tcp', 'ok', [POD2], [WORKER1]],
    ['pod/echo-client1>headless:1234/tcp', 'ok', [POD2], [CLIENT_IP]],
    ['routed>echo-ci-tcp/cluster-ip:1234/tcp', 'ok', [POD2], WORKERS],
  ];
  it.each(rows.map((row) => ({ id: row[0], outcome: row[1], row })))('$id: $outcome', ({ row }) =>
    check(cells, row),
  );

  it('has no cell for a pod that is not ready', () => {
    expect([...cells.keys()].filter((id) => id.includes('echo-server1') || id.includes('server1.'))).toEqual(
      [],
    );
  });
});

describe('full variant, no pod ready', () => {
  const cells = cellsOf({ ready: ['echo-client1'] });
  const rows: readonly Row[] = [
    ['k8sworker1>echo-ci-tcp/cluster-ip:1234/tcp', 'refused'],
    ['k8sworker1>echo-server-udp/cluster-ip:5678/udp', 'denied'],
    ['pod/echo-client1>echo-server-udp/cluster-ip:5678/udp', 'refused'],
    ['routed>echo-ci-tcp/cluster-ip:1234/tcp', 'refused'],
    ['ubuntu>echo-ci-tcp/cluster-ip:1234/tcp', 'no-route'],
    ['ubuntu>echo-np-tcp/k8sworker1:31234/tcp', 'refused'],
    // Nobody announces it any more (all of these were seen with BIRD and FRR in network namespaces).
    ['k8sworker1>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['k8smaster1>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['bgp>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['routed>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['pod/echo-client1>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
  ];
  it.each(rows.map((row) => ({ id: row[0], outcome: row[1], row })))('$id: $outcome', ({ row }) =>
    check(cells, row),
  );
});

describe('simple variant: policy Cluster', () => {
  const cells = cellsOf({ variant: 'simple' }, planOf('version: 1\necho: { variant: simple }\n'));
  const rows: readonly Row[] = [
    ['ubuntu>echo-np-tcp/k8smaster1:31234/tcp', 'ok', ALL, [MASTER]],
    ['ubuntu>echo-server-udp/k8sworker1:31678/udp', 'ok', ALL, [WORKER1]],
    ['k8smaster1>echo-np-tcp/k8sworker2:31234/tcp', 'ok', ALL, [WORKER2]],
    ['k8sworker2>echo-np-tcp/k8sworker2:31234/tcp', 'ok', ALL, [WORKER2]],
    ['pod/echo-client1>echo-np-tcp/k8sworker1:31234/tcp', 'ok', ALL, [WORKER1]],
    ['pod/echo-client1>echo-np-tcp/k8sworker3:31234/tcp', 'ok', ALL, [WORKER3]],
    ['routed>echo-np-tcp/cluster-ip:1234/tcp', 'ok', ALL, WORKERS],
  ];
  it.each(rows.map((row) => ({ id: row[0], outcome: row[1], row })))('$id: $outcome', ({ row }) =>
    check(cells, row),
  );

  it('has no external IP', () => {
    expect([...cells.keys()].filter((id) => id.includes('2.2.2.2'))).toEqual([]);
  });
});

describe('the LoadBalancer service switched to policy Cluster', () => {
  const cells = cellsOf({
    edit: (service) => {
      const { healthCheckNodePort: _, ...spec } = service.spec;
      return { ...service, spec: { ...spec, externalTrafficPolicy: 'Cluster' } };
    },
  });
  const rows: readonly Row[] = [
    ['k8smaster1>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route'],
    ['routed>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, WORKERS],
    ['pod/echo-client1>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, [WORKER1]],
    ['ubuntu>echo-lb-tcp/k8smaster1:32153/tcp', 'ok', ALL, [MASTER]],
  ];
  it.each(rows.map((row) => ({ id: row[0], outcome: row[1], row })))('$id: $outcome', ({ row }) =>
    check(cells, row),
  );
});

describe('a Local service that nobody can ask about', () => {
  it('is not announced without a healthCheckNodePort', () => {
    const cells = cellsOf({
      edit: (service) => {
        const { healthCheckNodePort: _, ...spec } = service.spec;
        return { ...service, spec };
      },
    });
    check(cells, ['routed>echo-lb-tcp/2.2.2.2:1234/tcp', 'no-route']);
    check(cells, ['pod/echo-client1>echo-lb-tcp/2.2.2.2:1234/tcp', 'ok', ALL, [CLIENT_IP]]);
  });
});
