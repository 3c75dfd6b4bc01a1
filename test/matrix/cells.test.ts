import { describe, expect, it } from 'vitest';
import type { CalicoSettings } from '../../scripts/bgp/calico/settings.ts';
import { nodeRoutes, nodesOf, routerRoutes } from '../../scripts/bgp/checks/expected.ts';
import { checkBgp } from '../../scripts/bgp/checks/judge.ts';
import type { BgpObservation } from '../../scripts/bgp/checks/observe.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { announcements, announcersOf, meantPlan } from '../../scripts/matrix/network.ts';
import { checkWorkloads } from '../../scripts/matrix/workloads.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { calicoPlan } from '../render/fixture.ts';
import { endpointsOf, planOf } from './fixtures.ts';

const plan = planOf();
const READY_SERVERS = ['echo-server1', 'echo-server2', 'echo-server3'];

describe('buildCells', () => {
  const cells = buildCells(plan, endpointsOf());

  it('covers every target from every source', () => {
    const froms = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'];
    expect([...new Set(cells.map(({ from }) => from))]).toEqual([
      ...froms,
      'pod/echo-client1',
      'bgp',
      'routed',
      'ubuntu',
    ]);
    // 3 pods and 4 names on TCP and UDP, 4 ClusterIPs, 3 node ports on 4 nodes, 1 external IP.
    expect(cells.length).toBe(8 * (6 + 8 + 4 + 12 + 1));
  });

  it('has unique ids', () => {
    expect(new Set(cells.map(({ id }) => id)).size).toBe(cells.length);
  });

  it('has ids without addresses that vary from lab to lab', () => {
    expect(cells.filter(({ id }) => /10\.\d+\.\d+/.test(id))).toEqual([]);
    expect(cells.map(({ id }) => id)).toContain('routed>echo-lb-tcp/2.2.2.2:1234/tcp');
  });

  it('expects a success with no server or no client from nobody', () => {
    const hollow = cells.filter(
      ({ expected }) =>
        (expected.outcome === 'ok') === (expected.servers.length === 0 || expected.clients.length === 0),
    );
    expect(hollow).toEqual([]);
  });

  it('has cells that must fail from every machine, and some that must work', () => {
    for (const from of new Set(cells.map((cell) => cell.from))) {
      const outcomes = cells.filter((cell) => cell.from === from).map(({ expected }) => expected.outcome);
      expect(outcomes).toContain('ok');
      expect(new Set(outcomes).size).toBeGreaterThan(1);
    }
  });

  it('blocks the cells of a client pod that does not run', () => {
    const endpoints = endpointsOf({ ready: READY_SERVERS });
    const blocked = buildCells(plan, endpoints).filter(({ blockedBy }) => blockedBy !== undefined);
    expect(new Set(blocked.map(({ from }) => from))).toEqual(new Set(['pod/echo-client1']));
    expect(blocked.length).toBe(31);
    const failed = checkWorkloads(plan, endpoints).filter(({ verdict }) => verdict === 'failed');
    expect(failed.map(({ id }) => id)).toEqual([blocked[0]?.blockedBy]);
  });

  it('fails where a service waits for an address that somebody of the lab gives', () => {
    const endpoints = endpointsOf();
    const services = endpoints.services.map((each) =>
      each.name === 'echo-lb-tcp' ? { ...each, isPending: true as const } : each,
    );
    const pending = (of: LabPlan) =>
      checkWorkloads(of, { ...endpoints, services })
        .filter(({ reason }) => reason === 'pending')
        .map(({ verdict, seen }) => [verdict, seen]);
    const names = services.flatMap(({ name, clusterIp }) => (clusterIp === undefined ? [] : [name]));
    expect(pending(plan)).toEqual([['failed', { services: names, pending: ['echo-lb-tcp'] }]]);
    const calico = { ...plan, choices: { ...plan.choices, cni: { value: 'calico' as const, why: '' } } };
    expect(pending(calico)).toHaveLength(1);
    expect(pending({ ...calico, echo: { ...plan.echo, loadBalancer: 'externalIPs' } })).toEqual([]);
  });

  it('plans nothing for an empty namespace, which the workload checks then fail', () => {
    const nothing = { ...endpointsOf(), services: [], pods: [] };
    expect(buildCells(plan, nothing)).toEqual([]);
    expect(checkWorkloads(plan, nothing).map(({ verdict }) => verdict)).toEqual([
      'failed',
      'skipped',
      'failed',
    ]);
  });

  it('fits a lab with 20 workers', () => {
    const machines = [
      '  - { name: m, role: control-plane, address: 192.168.13.30 }',
      ...Array.from(
        { length: 20 },
        (_, index) => `  - { name: k8sworker${index + 1}, role: worker, address: 192.168.13.${40 + index} }`,
      ),
      '  - { name: r, role: router, address: 192.168.13.39 }',
    ];
    const big = planOf(`version: 1\nmachines:\n${machines.join('\n')}\n`);
    const cells = buildCells(big, endpointsOf({}, big));
    expect(cells.filter(({ skipped, blockedBy }) => (skipped ?? blockedBy) !== undefined)).toEqual([]);
    expect(new Set(cells.map(({ id }) => id)).size).toBe(cells.length);
  });
});

const NODES = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'];

describe('announcements', () => {
  it.each([
    [[...READY_SERVERS], ['k8sworker1', 'k8sworker2', 'k8sworker3']],
    [['echo-server3'], ['k8sworker3']],
    [[], []],
  ])('with %j ready come from %j', (ready, nodes) => {
    expect(announcements(plan, endpointsOf({ ready }))).toEqual([
      { prefix: '2.2.2.2/32', nodes },
      { of: 'service-cidr', prefix: '10.96.0.0/12', nodes: NODES },
    ]);
  });

  describe('of a node that is taken out of load balancing', () => {
    const labelled = (value: string) => {
      const state = endpointsOf();
      const labels = { 'node.kubernetes.io/exclude-from-external-load-balancers': value };
      const nodes = state.nodes.map((node) => (node.name === 'k8sworker3' ? { ...node, labels } : node));
      return { ...state, nodes };
    };

    it.each([plan, calicoPlan(plan, 'v3.33.1')])('are none', (of) => {
      const [external, cidr] = announcements(of, labelled('true'));
      expect(external).toEqual({ prefix: '2.2.2.2/32', nodes: ['k8sworker1', 'k8sworker2'] });
      expect(cidr).toEqual({ of: 'service-cidr', prefix: '10.96.0.0/12', nodes: NODES.slice(0, 3) });
      const router = routerRoutes(of, announcements(of, labelled('true')));
      expect(router.find(({ prefix }) => prefix === '10.96.0.0/12')?.nextHops).toEqual([
        '192.168.13.35',
        '192.168.13.36',
      ]);
    });

    it('are all with the empty value that kubeadm writes', () => {
      expect(announcements(plan, labelled(''))[0]?.nodes).toHaveLength(3);
    });
  });

  describe("by Calico's own settings", () => {
    const calico = calicoPlan(plan, 'v3.33.1');
    const settings: CalicoSettings = {
      pools: [],
      nodeMesh: true,
      serviceClusterIps: ['10.96.0.0/12'],
      serviceExternalIps: ['2.2.2.2/32'],
      serviceLoadBalancerIps: [],
      aggregatesLoadBalancers: true,
    };
    const withSettings = (change: Partial<CalicoSettings>, policy: 'Local' | 'Cluster' = 'Local') => {
      const state = endpointsOf();
      const services = state.services.map((service) => ({ ...service, policy }));
      return { ...state, services, calico: { ...settings, ...change } };
    };

    it('are those of the lab as it is made', () => {
      const { calico: _, ...without } = withSettings({});
      expect(announcements(calico, withSettings({}))).toEqual(announcements(calico, without));
    });

    it('are no addresses that are in no prefix', () => {
      const none = withSettings({ serviceExternalIps: [], serviceClusterIps: [] });
      expect(announcements(calico, none)).toEqual([
        { prefix: '2.2.2.2/32', nodes: [] },
        { of: 'service-cidr', prefix: '10.96.0.0/12', nodes: [] },
      ]);
    });

    it('are the addresses of the pool one by one for the router, and nothing beside or around them', () => {
      const nodes = NODES.slice(1, 3);
      const prefixes = ['203.0.113.17/32', '203.0.113.32/32', '203.0.113.16/28', '2.2.2.2/32'];
      const routes = routerRoutes(
        plan,
        prefixes.map((prefix) => ({ prefix, nodes })),
      );
      const rules = routes.map(({ prefix, rule, nextHops }) => [prefix, rule, nextHops.length]);
      expect(rules.slice(-4)).toEqual([
        ['203.0.113.17/32', 'external-to-router', 2],
        ['203.0.113.32/32', 'refused-by-router', 0],
        ['203.0.113.16/28', 'refused-by-router', 0],
        ['2.2.2.2/32', 'external-to-router', 2],
      ]);
    });

    it('of a load balancer that delivers itself are announced like any other, and no node lets them in', () => {
      const state = endpointsOf();
      const services = state.services.map((service) =>
        service.name === 'echo-lb-tcp'
          ? { ...service, externalIps: [], loadBalancerIps: ['2.2.2.2'], proxiedIps: ['2.2.2.2'] }
          : service,
      );
      expect(announcements(plan, { ...state, services })).toEqual(announcements(plan, state));
      const cells = buildCells(plan, { ...state, services });
      const outcomes = cells
        .filter(({ kind }) => kind === 'external-ip')
        .map(({ expected }) => expected.outcome);
      expect(outcomes.length).toBeGreaterThan(0);
      expect(outcomes).not.toContain('ok');
    });

    it('are a wider prefix as a whole, which the router does not take, and single addresses of Local services', () => {
      const wide = withSettings({ serviceExternalIps: ['2.2.2.0/24'] });
      const all = announcements(calico, wide);
      expect(all).toContainEqual({ prefix: '2.2.2.0/24', nodes: NODES });
      expect(all[0]).toEqual({ prefix: '2.2.2.2/32', nodes: NODES.slice(1) });
      expect(routerRoutes(calico, all)).toContainEqual({
        prefix: '2.2.2.0/24',
        nextHops: [],
        rule: 'refused-by-router',
      });
      const cluster = withSettings({ serviceExternalIps: ['2.2.2.0/24'] }, 'Cluster');
      expect(announcements(calico, cluster)[0]).toEqual({ prefix: '2.2.2.2/32', nodes: [] });
    });

    it.each([
      ['Always', 'Never', true],
      ['Never', 'Always', true],
      ['CrossSubnet', 'Never', true],
      ['Never', 'CrossSubnet', false],
      ['Never', 'Never', false],
    ] as const)(
      'do not say where a pod block is with vxlanMode %s and ipipMode %s: %s',
      (vxlan, ipip, is) => {
        const pool = { cidr: '10.255.0.0/16', natOutgoing: true, disabled: false, vxlan, ipip };
        const podBlocks = [{ prefix: '10.255.8.0/26', node: 'k8sworker2' }];
        const all = announcements(calico, { ...withSettings({ pools: [pool] }), podBlocks });
        const expected = [
          routerRoutes(calico, all),
          ...nodesOf(calico).map((node) => nodeRoutes(calico, all, node)),
        ].map((routes) => routes.find(({ prefix }) => prefix === '10.255.8.0/26')?.rule);
        expect(expected.every((rule) => (rule === 'encapsulated') === is)).toBe(true);
        const table = { name: 'kernel', table: { ok: true, value: new Map() } } as const;
        const observed = new Map([
          ['k8sworker1', { sessions: { ok: true, value: [] }, tables: [table] } as BgpObservation],
        ]);
        const check = checkBgp(calico, all, observed).find(
          ({ id }) => id === 'bgp.route.k8sworker1.kernel.10.255.8.0/26',
        );
        expect(check?.verdict).toBe(is ? 'skipped' : 'failed');
      },
    );

    it('leave the plan without its mesh where that is off', () => {
      expect(meantPlan(calico, withSettings({}))).toBe(calico);
      const meant = meantPlan(calico, withSettings({ nodeMesh: false }));
      expect(meant.bgp.peerings.map(({ kind }) => kind)).toEqual(['ebgp', 'ebgp', 'ebgp']);
      const [node] = nodesOf(meant);
      if (node === undefined) throw new Error('no node');
      expect(nodeRoutes(meant, announcements(meant, withSettings({ nodeMesh: false })), node)).toEqual([]);
    });
  });

  describe('with Calico', () => {
    const external = (version: string, ready: readonly string[]) =>
      announcements(calicoPlan(plan, version), endpointsOf({ ready: [...ready] })).find(
        ({ prefix }) => prefix === '2.2.2.2/32',
      )?.nodes;

    it.each(['v3.31.7', 'v3.32.2', 'v3.33.1', 'v4.0.0'])('%s come from nodes with a ready pod', (version) => {
      expect(external(version, ['echo-server3'])).toEqual(['k8sworker3']);
    });

    it.each(['v3.30.4', 'v3.31.6', 'v3.32.0', 'v3.32.1'])('%s come from nodes with any pod', (version) => {
      expect(external(version, ['echo-server3'])).toEqual(['k8sworker1', 'k8sworker2', 'k8sworker3']);
    });

    it('do not need a healthCheckNodePort, but a ClusterIP', () => {
      const endpoints = endpointsOf({ ready: ['echo-server3'] });
      const [lb] = endpoints.services.filter(({ name }) => name === 'echo-lb-tcp');
      if (lb === undefined) throw new Error('no service');
      const { healthCheckNodePort: _, ...plain } = lb;
      expect(announcersOf(plan, plain)).toEqual([]);
      expect(announcersOf(calicoPlan(plan, 'v3.33.1'), plain)).toEqual(['k8sworker3']);
      const { clusterIp: __, ...headless } = lb;
      expect(announcersOf(calicoPlan(plan, 'v3.33.1'), headless)).toEqual([]);
    });

    it('are pod blocks and single ClusterIPs of Local services, too', () => {
      const endpoints = endpointsOf({ ready: ['echo-server3'] });
      const podBlocks = [{ prefix: '10.255.9.0/26', node: 'k8sworker1' }];
      const local = endpoints.services.filter(
        ({ policy, clusterIp }) => policy === 'Local' && clusterIp !== undefined,
      );
      expect(local.length).toBeGreaterThan(2);
      const all = announcements(calicoPlan(plan, 'v3.33.1'), { ...endpoints, podBlocks });
      expect(all.filter(({ of }) => of === 'pods')).toEqual([
        { of: 'pods', prefix: '10.255.9.0/26', nodes: ['k8sworker1'] },
      ]);
      expect(all.filter(({ of }) => of === 'cluster-ip')).toEqual(
        local.map(({ clusterIp }) => ({
          of: 'cluster-ip',
          prefix: `${clusterIp}/32`,
          nodes: ['k8sworker3'],
        })),
      );
    });
  });

  it('expect the external IP absent where no service has it', () => {
    expect(announcements(plan, endpointsOf({ variant: 'simple' }))).toEqual([
      { prefix: '2.2.2.2/32', nodes: [] },
      { of: 'service-cidr', prefix: '10.96.0.0/12', nodes: NODES },
    ]);
  });
});
