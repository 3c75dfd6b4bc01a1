import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dnsAddress, peeringsOf, podBlocks } from '../../scripts/plan/addressing.ts';
import { decide } from '../../scripts/plan/choices.ts';
import { planLab } from '../../scripts/plan/plan.ts';
import { machinesOf, type PeeringPlan, theMachine } from '../../scripts/plan/types.ts';
import { contains, overlaps, parseCidr } from '../../scripts/shared/ip.ts';
import { BARE_HOST, defaultPlan, planOf, VALID_SPECS } from './fixtures.ts';

function cidr(text: string) {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`no prefix: ${text}`);
  return parsed;
}

describe.each(VALID_SPECS)('%s', (_name, path) => {
  const { spec, plan } = planOf(path);

  it('is pure: planned twice it is the same, and the spec is not touched', () => {
    const before = structuredClone(spec);
    expect(planLab(spec, decide(spec, BARE_HOST))).toEqual(plan);
    expect(spec).toEqual(before);
  });

  it('gives every node its own block inside the pod CIDR', () => {
    const nodes = machinesOf(plan, 'control-plane', 'worker');
    const blocks = nodes.map(({ podBlock }) => cidr(podBlock ?? 'none'));
    expect(new Set(nodes.map(({ podBlock }) => podBlock)).size).toBe(nodes.length);
    for (const [index, block] of blocks.entries()) {
      expect(contains(cidr(plan.kubernetes.podCidr), block.address)).toBe(true);
      for (const other of blocks.slice(index + 1)) expect(overlaps(block, other)).toBe(false);
    }
    for (const machine of machinesOf(plan, 'router', 'client'))
      expect(machine).not.toHaveProperty('podBlock');
  });

  it('has each pair of nodes once in the mesh, and the router with each worker', () => {
    const pairs = (kind: PeeringPlan['kind']) =>
      plan.bgp.peerings
        .filter((peering) => peering.kind === kind)
        .map(({ a, b }) => [a.machine, b.machine].sort().join());
    const nodes = machinesOf(plan, 'control-plane', 'worker').map((machine) => machine.name);
    const wanted = nodes.flatMap((a, index) => nodes.slice(index + 1).map((b) => [a, b].sort().join()));
    expect(pairs('ibgp').sort()).toEqual(wanted.sort());
    const router = theMachine(plan, 'router').name;
    const workers = machinesOf(plan, 'worker').map((machine) => [machine.name, router].sort().join());
    expect(pairs('ebgp').sort()).toEqual(workers.sort());
    for (const { kind, a, b } of plan.bgp.peerings) expect(a.asn === b.asn).toBe(kind === 'ibgp');
  });

  it('has an echo server on every worker and none elsewhere, and room for all next hops', () => {
    const workers = machinesOf(plan, 'worker').map((machine) => machine.name);
    expect(plan.echo.servers.map(({ node }) => node)).toEqual(workers);
    expect(plan.echo.clientPod.node).toBe(workers[0]);
    expect(plan.bgp.maximumPaths).toBeGreaterThanOrEqual(Math.max(8, workers.length));
    expect(contains(cidr(plan.kubernetes.serviceCidr), plan.kubernetes.dnsAddress)).toBe(true);
  });

  it('gives no machine a default route', () => {
    for (const { to } of plan.machines.flatMap(({ routes }) => routes))
      expect(to).not.toMatch(/^(default|0\.0\.0\.0)/);
  });
});

it('has goldens of valid specs only', () => {
  const names = VALID_SPECS.filter(([name]) => name !== 'default').map(([name]) => `${name}.diff`);
  expect(readdirSync('test/golden/plans').sort()).toEqual(names.sort());
});

describe('the default lab', () => {
  // The plans of the other specs are compared as people read them (test/render/plan-text.test.ts).
  it('has the plan that was reviewed', async () => {
    const text = `${JSON.stringify(defaultPlan, undefined, 2)}\n`;
    await expect(text).toMatchFileSnapshot('../golden/default/plan.json');
  });

  const machine = (name: string) => defaultPlan.machines.find((each) => each.name === name);

  it('has the addresses, blocks and AS numbers that are documented', () => {
    expect(
      defaultPlan.machines.map(({ name, address, asn, podBlock }) => [name, address, asn, podBlock]),
    ).toEqual([
      ['k8smaster1', '192.168.13.30', 65001, '10.255.0.0/26'],
      ['k8sworker1', '192.168.13.35', 65001, '10.255.0.64/26'],
      ['k8sworker2', '192.168.13.36', 65001, '10.255.0.128/26'],
      ['k8sworker3', '192.168.13.37', 65001, '10.255.0.192/26'],
      ['bgp', '192.168.13.39', 65000, undefined],
      ['routed', '192.168.13.40', undefined, undefined],
      ['ubuntu', '192.168.13.104', undefined, undefined],
    ]);
  });

  it('routes nodes on-link to services, the routed client through the router, and nobody else', () => {
    const via = '192.168.13.39';
    expect(machine('k8smaster1')?.routes).toEqual([{ to: '10.96.0.0/12' }]);
    expect(machine('k8sworker3')?.routes).toEqual([{ to: '10.96.0.0/12' }]);
    expect(machine('routed')?.routes).toEqual([
      { to: '10.255.0.0/16', via },
      { to: '10.96.0.0/12', via },
      { to: '2.2.2.2/32', via },
      { to: '203.0.113.16/28', via },
      { to: '5.5.5.5/32', via },
    ]);
    expect(machine('bgp')?.routes).toEqual([]);
    expect(machine('ubuntu')?.routes).toEqual([]);
  });

  it('answers pods for their gateway on every node with Calico, on any driver', () => {
    const { spec, plan } = planOf('lab.yaml');
    for (const driver of ['incus', 'ssh', 'multipass'] as const) {
      const cni = { value: 'calico' as const, why: 'test' };
      const choices = { ...plan.choices, driver: { value: driver, why: 'test' }, cni };
      const { machines } = planLab(spec, choices);
      const having = machines.filter(({ routes }) => routes.some(({ to }) => to === '169.254.1.1/32'));
      expect(having.map(({ name }) => name)).toEqual([
        'k8smaster1',
        'k8sworker1',
        'k8sworker2',
        'k8sworker3',
      ]);
    }
  });

  it("has Calico's own limit of next hops with Calico", () => {
    const { spec, plan } = planOf('lab.yaml');
    const versions = { kubernetes: 'v1.36.3', calico: 'v3.32.1' };
    expect(planLab(spec, plan.choices, { versions }).calico).toEqual({
      version: 'v3.32.1',
      maximumPaths: 16,
    });
  });

  it('has six iBGP sessions and three eBGP sessions, none of these with the control plane', () => {
    const kinds = defaultPlan.bgp.peerings.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'ibgp')).toHaveLength(6);
    const external = defaultPlan.bgp.peerings.filter(({ kind }) => kind === 'ebgp');
    expect(external.map(({ a, b }) => `${a.machine}-${b.machine}`)).toEqual([
      'bgp-k8sworker1',
      'bgp-k8sworker2',
      'bgp-k8sworker3',
    ]);
  });

  it('has the fixed values that others rely on', () => {
    expect(defaultPlan.kubernetes).toMatchObject({
      version: 'v1.20.2',
      dnsAddress: '10.96.0.10',
      domain: 'cluster.local',
    });
    expect(defaultPlan.bgp).toMatchObject({
      holdSeconds: 9,
      keepaliveSeconds: 3,
      maximumPaths: 8,
      maximumPrefix: 200,
    });
    expect(defaultPlan.bgp.externalPrefixes).toEqual(['2.2.2.2/32', '203.0.113.16/28']);
  });
});

describe('an unchecked spec is a bug, not a plan', () => {
  const { spec } = planOf('lab.yaml');
  const choices = defaultPlan.choices;
  it.each(['control-plane', 'router', 'worker'])('without a %s', (role) => {
    const machines = spec.machines.filter((each) => each.role !== role);
    expect(() => planLab({ ...spec, machines }, choices)).toThrow(`not a checked spec: it has no ${role}`);
  });
  it('with a pod CIDR that is too small', () => {
    const kubernetes = { ...spec.kubernetes, podCidr: '10.255.0.0/25' };
    expect(() => podBlocks({ ...spec, kubernetes })).toThrow(RangeError);
  });
  it('with a service CIDR that is none', () => {
    const kubernetes = { ...spec.kubernetes, serviceCidr: 'x' };
    expect(() => dnsAddress({ ...spec, kubernetes })).toThrow('not a checked prefix: x');
  });
});

it('peers nobody with nobody', () => {
  expect(peeringsOf([], { clusterAsn: 1, routerAsn: 2 })).toEqual([]);
});

describe('kubernetes.proxyMode', () => {
  const [, path] = VALID_SPECS[0] ?? ['', ''];
  const { spec } = planOf(path);
  const planned = (
    proxyMode: typeof spec.kubernetes.proxyMode,
    cni: 'bird' | 'calico',
    kubernetes: string,
  ) => {
    const choices = decide(spec, BARE_HOST);
    return planLab(
      { ...spec, kubernetes: { ...spec.kubernetes, proxyMode } },
      { ...choices, cni: { value: cni, why: 'test' } },
      { versions: { kubernetes } },
    ).kubernetes.proxyMode;
  };

  it('is nftables from Kubernetes 1.31 on', () => {
    expect(planned('iptables', 'bird', 'v1.20.2')).toBeUndefined();
    expect(planned('nftables', 'bird', 'v1.31.0')).toBe('nftables');
    expect(() => planned('nftables', 'bird', 'v1.20.2')).toThrow('Kubernetes v1.20.2 has no nftables mode');
  });

  it('is ipvs with Calico only', () => {
    expect(planned('ipvs', 'calico', 'v1.36.3')).toBe('ipvs');
    expect(() => planned('ipvs', 'bird', 'v1.20.2')).toThrow('does not go with the CNI bird');
  });
});
