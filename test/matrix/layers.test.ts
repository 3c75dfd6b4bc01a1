import { describe, expect, it } from 'vitest';
import { type Check, makeCheck } from '../../scripts/bgp/checks/check.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { iptablesNamesBefore124 } from '../../scripts/matrix/expect/chain-names.ts';
import { blockCells, layerDns } from '../../scripts/matrix/layer-cells.ts';
import { layerChecks } from '../../scripts/matrix/layers.ts';
import { checkPodNetwork } from '../../scripts/matrix/pod-network.ts';
import type { Cell, CellResult, Observation } from '../../scripts/matrix/types.ts';
import { endpointsOf, planOf, rightly } from './fixtures.ts';

const plan = planOf();
const state = endpointsOf();
const cells = buildCells(plan, state);
const [W1, W2, W3, R] = ['192.168.13.35', '192.168.13.36', '192.168.13.37', '192.168.13.39'];
const ALL = `${W1}, ${W2}, ${W3}`;

/** What is or should be in a table: next hops with commas, "absent", or what a daemon says that does not answer. */
function hopsOf(text: string): readonly string[] | undefined {
  return text.includes(':') ? undefined : text === 'absent' ? [] : text.split(', ');
}

function session(a: string, b: string, silent?: string): Check {
  const ends = [a, b].map((machine) => ({
    machine,
    state: 'Idle',
    ...(machine === silent ? { problem: 'x' } : {}),
  }));
  return makeCheck(
    'session',
    { a, b, protocol: 'ebgp' },
    {
      verdict: 'failed',
      reason: 'not-established',
      wanted: { state: 'Established', ends: [] },
      seen: { ends },
    },
  );
}

function route(where: string, prefix: string, expected: string, observed: string, take?: number): Check {
  const [machine = '', table = ''] = where.split('.');
  const nextHops = hopsOf(expected) ?? [];
  const seen = hopsOf(observed);
  return makeCheck(
    'route',
    { machine, table, prefix },
    {
      verdict: expected === observed ? 'passed' : 'failed',
      reason: expected === observed ? 'as-wanted' : seen === undefined ? 'no-answer' : 'wrong-next-hops',
      wanted: { nextHops, take: take ?? nextHops.length, rule: 'service-cidr' },
      seen: seen === undefined ? null : { nextHops: seen },
    },
  );
}

function rules(machine: string, service: string, chains: readonly string[] = ['x']): Check {
  return makeCheck(
    'service-rules',
    { machine, service },
    {
      verdict: 'failed',
      reason: 'wrong-backends',
      wanted: { chains: chains.map((chain) => ({ chain, backends: ['10.255.0.74:1234'] })) },
      seen: { chains: chains.map((chain) => ({ chain, backends: [] })) },
    },
  );
}

/** The four tables of the router, all showing the same. */
function router(prefix: string, expected: string, observed: string): Check[] {
  return ['bgp', 'rib', 'fib', 'kernel'].map((table) => route(`bgp.${table}`, prefix, expected, observed));
}

function verdicts(checks: readonly Check[]) {
  const layered = layerChecks(plan, checks);
  return {
    failed: layered.checks.filter(({ verdict }) => verdict === 'failed').map(({ id }) => id),
    blocked: layered.checks.filter(({ verdict }) => verdict === 'blocked').map(({ id }) => id),
    layered,
  };
}

describe('a check that follows from another', () => {
  it('is blocked by the session that is down, in every table and at every speaker', () => {
    const { failed, blocked, layered } = verdicts([
      session('bgp', 'k8sworker3'),
      ...router('2.2.2.2/32', ALL, `${W1}, ${W2}`),
      ...router('10.255.0.192/26', W3 ?? '', 'absent'),
      route('k8sworker3.bird', '5.5.5.5/32', R ?? '', 'absent'),
      route('k8sworker3.kernel', '5.5.5.5/32', R ?? '', 'absent'),
    ]);
    expect(failed).toEqual(['bgp.session.bgp-k8sworker3']);
    expect(blocked).toHaveLength(10);
    expect([...new Set(layered.roots.values())]).toEqual(['bgp.session.bgp-k8sworker3']);
    expect(layered.checks[1]).toMatchObject({
      seen: { nextHops: [W1, W2] },
      blockedBy: 'bgp.session.bgp-k8sworker3',
    });
  });

  it('is blocked where fewer next hops are left than the kernel takes', () => {
    const { failed, blocked } = verdicts([
      session('k8smaster1', 'k8sworker2'),
      session('k8smaster1', 'k8sworker3'),
      route('k8smaster1.kernel', '2.2.2.2/32', ALL, W1 ?? '', 2),
    ]);
    expect(failed).toEqual(['bgp.session.k8smaster1-k8sworker2', 'bgp.session.k8smaster1-k8sworker3']);
    expect(blocked).toEqual(['bgp.route.k8smaster1.kernel.2.2.2.2/32']);
  });

  it('is blocked by the lowest table that is wrong in the same way', () => {
    const { failed, blocked } = verdicts(router('2.2.2.2/32', ALL, `${W1}, ${W2}`));
    expect(failed).toEqual(['bgp.route.bgp.bgp.2.2.2.2/32']);
    expect(blocked).toHaveLength(3);
  });

  it('stays a failure of its own where its table is wrong in another way', () => {
    const checks = router('2.2.2.2/32', ALL, `${W1}, ${W2}`).slice(0, 3);
    const { failed } = verdicts([...checks, route('bgp.kernel', '2.2.2.2/32', ALL, W1 ?? '')]);
    expect(failed).toEqual(['bgp.route.bgp.bgp.2.2.2.2/32', 'bgp.route.bgp.kernel.2.2.2.2/32']);
  });

  it('is blocked by the node that does not announce what it has to', () => {
    const { failed, blocked } = verdicts([
      ...router('2.2.2.2/32', ALL, `${W1}, ${W3}`),
      route('k8smaster1.bird', '2.2.2.2/32', ALL, `${W1}, ${W3}`),
      route('k8sworker2.bird', '2.2.2.2/32', 'blackhole', `${W1}, ${W3}`),
      route('k8sworker2.kernel', '2.2.2.2/32', 'blackhole', `${W1}, ${W3}`),
    ]);
    expect(failed).toEqual(['bgp.route.k8sworker2.bird.2.2.2.2/32']);
    expect(blocked).toHaveLength(6);
  });

  it('is blocked by the node that announces what it must not', () => {
    const { failed } = verdicts([
      ...router('2.2.2.2/32', W1 ?? '', `${W1}, ${W2}`),
      route('k8sworker2.bird', '2.2.2.2/32', W1 ?? '', 'blackhole'),
    ]);
    expect(failed).toEqual(['bgp.route.k8sworker2.bird.2.2.2.2/32']);
  });

  it('fails where only one of two differences has a cause', () => {
    const { failed } = verdicts([
      session('bgp', 'k8sworker2'),
      route('bgp.bgp', '2.2.2.2/32', ALL, W1 ?? ''),
    ]);
    expect(failed).toEqual(['bgp.session.bgp-k8sworker2', 'bgp.route.bgp.bgp.2.2.2.2/32']);
  });

  it('is blocked by the first session of a machine all of whose sessions are down', () => {
    const down = 'k8sworker1: BIRD did not answer';
    const own = ['k8smaster1-k8sworker1', 'k8sworker1-k8sworker2', 'k8sworker1-k8sworker3', 'bgp-k8sworker1'];
    const ids = plan.bgp.peerings.map(({ a, b }) => `${a.machine}-${b.machine}`);
    expect(ids).toEqual(expect.arrayContaining(own));
    const { failed, blocked } = verdicts([
      ...own.map((pair) => session(pair.split('-')[0] ?? '', pair.split('-')[1] ?? '', 'k8sworker1')),
      route('k8sworker1.bird', '5.5.5.5/32', R ?? '', down),
      route('bgp.bgp', '10.255.0.64/26', W1 ?? '', 'absent'),
    ]);
    expect(failed).toHaveLength(1);
    expect(blocked).toHaveLength(5);
  });

  it('is blocked by the first wrong rule of the same node', () => {
    const { failed, blocked } = verdicts([
      rules('k8sworker1', 'a'),
      rules('k8sworker1', 'b'),
      rules('k8sworker2', 'b'),
    ]);
    expect(failed).toEqual(['rules.k8sworker1.a', 'rules.k8sworker2.b']);
    expect(blocked).toEqual(['rules.k8sworker1.b']);
  });

  it('changes nothing where all is well', () => {
    const checks = router('2.2.2.2/32', ALL, ALL);
    expect(layerChecks(plan, checks).checks).toEqual(checks);
  });
});

/** The ids of the cells that are blocked by these checks. */
function blockedBy(checks: readonly Check[], at = state): readonly string[] {
  return blockCells(plan, at, layerChecks(plan, checks), buildCells(plan, at))
    .filter(({ blockedBy: cause }) => cause !== undefined)
    .map(({ id }) => id);
}

function idsOf(keep: (cell: Cell) => boolean): readonly string[] {
  return cells.filter(keep).map(({ id }) => id);
}

const EXTERNAL = (cell: Cell) => cell.kind === 'external-ip';

describe('cells below a failed layer', () => {
  it('are those that go by the router, where it lacks a next hop', () => {
    expect(blockedBy(router('2.2.2.2/32', ALL, `${W1}, ${W2}`))).toEqual(
      idsOf((cell) => EXTERNAL(cell) && (cell.from === 'bgp' || cell.from === 'routed')),
    );
  });

  it('are blocked by the check at the bottom', () => {
    const layered = layerChecks(plan, [
      session('bgp', 'k8sworker3'),
      ...router('2.2.2.2/32', ALL, `${W1}, ${W2}`),
    ]);
    const causes = new Set(blockCells(plan, state, layered, cells).flatMap(({ blockedBy: id }) => id ?? []));
    expect([...causes]).toEqual(['bgp.session.bgp-k8sworker3']);
  });

  it('are those of a pod block that the router has not learned, and nothing that needs no route to it', () => {
    const missing = blockedBy(router('10.255.0.192/26', W3 ?? '', 'absent'));
    expect(missing).toEqual(
      idsOf(({ from, to }) => (from === 'bgp' || from === 'routed') && to === 'pod/echo-server3'),
    );
  });

  it('are those of a node that lacks the route to another block, where its own rules may choose a pod there', () => {
    const missing = blockedBy([route('k8sworker1.kernel', '10.255.0.128/26', W2 ?? '', 'absent')]);
    expect(missing).toContain('k8sworker1>echo-ci-tcp/cluster-ip:1234/tcp');
    expect(missing).toContain('k8sworker1>pod/echo-server2:1234/tcp');
    expect(missing).toContain('pod/echo-client1>server2.headless:1234/tcp');
    // By policy Local that node answers from its own pod.
    expect(missing).not.toContain('ubuntu>echo-np-tcp/k8sworker1:31234/tcp');
    expect(missing).not.toContain('ubuntu>echo-np-tcp/k8sworker2:31234/tcp');
    expect(missing).not.toContain('k8smaster1>pod/echo-server2:1234/tcp');
  });

  it('are those whose answers find no way back', () => {
    const missing = blockedBy([route('k8sworker3.kernel', '10.255.0.64/26', W1 ?? '', 'absent')]);
    expect(missing).toContain('pod/echo-client1>pod/echo-server3:1234/tcp');
    expect(missing).not.toContain('ubuntu>echo-np-tcp/k8sworker3:31234/tcp');
  });

  it('include what chance decides because of the fault, instead of being a fault of their own', () => {
    const worker = state.machines.get('k8sworker1');
    if (worker === undefined) throw new Error('no worker');
    const routes = worker.routes.filter(({ prefix }) => prefix !== '10.255.0.128/26');
    const machines = new Map(state.machines).set('k8sworker1', { ...worker, routes });
    const moved = { ...state, machines };
    const id = 'k8sworker1>echo-ci-tcp/cluster-ip:1234/tcp';
    const before = buildCells(plan, moved);
    expect(before.find((cell) => cell.id === id)?.chance).toBe('chance decides between ok and no-route');
    const layered = layerChecks(plan, [route('k8sworker1.kernel', '10.255.0.128/26', W2 ?? '', 'absent')]);
    const cell = blockCells(plan, moved, layered, before).find((each) => each.id === id);
    expect(cell).toMatchObject({ blockedBy: 'bgp.route.k8sworker1.kernel.10.255.0.128/26' });
    expect(cell?.chance).toBeUndefined();
  });

  /** The check of a service's rules on a node, with these of its chains wrong. */
  function wrongRules(node: string, name: string, kinds: readonly ('SVC' | 'XLB' | 'EXT' | 'SVL')[]): Check {
    const service = state.services.find((each) => each.name === name);
    const [port] = service?.ports ?? [];
    if (service === undefined || port === undefined) throw new Error(`no service ${name}`);
    return rules(
      node,
      name,
      kinds.map((kind) => iptablesNamesBefore124(service, port).all.replace('SVC', kind)),
    );
  }

  it('are those of a service whose rules are wrong on the node that translates', () => {
    const wrong = blockedBy([wrongRules('k8sworker2', 'echo-np-tcp', ['SVC', 'XLB'])]);
    expect(wrong).toContain('ubuntu>echo-np-tcp/k8sworker2:31234/tcp');
    expect(wrong).toContain('k8sworker2>echo-np-tcp/cluster-ip:1234/tcp');
    // The router spreads over every worker.
    expect(wrong).toContain('routed>echo-np-tcp/cluster-ip:1234/tcp');
    expect(wrong).not.toContain('ubuntu>echo-np-tcp/k8sworker1:31234/tcp');
    expect(wrong.every((id) => id.includes('echo-np-tcp'))).toBe(true);
  });

  it('are only those that pass the chain that is wrong', () => {
    const external = blockedBy([wrongRules('k8sworker2', 'echo-np-tcp', ['XLB'])]);
    // From the node itself KUBE-XLB leads on to the ClusterIP's chain, but it is passed.
    expect(external).toEqual(idsOf(({ to }) => to === 'echo-np-tcp/k8sworker2'));
    const internal = blockedBy([wrongRules('k8sworker2', 'echo-np-tcp', ['SVC'])]);
    expect(internal).toContain('k8sworker2>echo-np-tcp/k8sworker2:31234/tcp');
    expect(internal).toContain('routed>echo-np-tcp/cluster-ip:1234/tcp');
    expect(internal).not.toContain('ubuntu>echo-np-tcp/k8sworker2:31234/tcp');
  });

  it('are those that must end in the chain that is wrong', () => {
    const dropped = blockedBy([wrongRules('k8smaster1', 'echo-np-tcp', ['XLB'])]);
    expect(dropped).toEqual(idsOf(({ to }) => to === 'echo-np-tcp/k8smaster1'));
  });

  it('are those of Kubernetes 1.24 and later that KUBE-EXT would lead on, were the chain not wrong', () => {
    const nodes = state.nodes.map((node) => ({ ...node, proxyVersion: '1.30.1' }));
    const later = blockedBy([wrongRules('k8smaster1', 'echo-np-tcp', ['SVL'])], { ...state, nodes });
    const isFromOutside = (id: string) => !id.startsWith('k8smaster1>');
    expect(later).toEqual(idsOf(({ to }) => to === 'echo-np-tcp/k8smaster1').filter(isFromOutside));
  });

  it('are not those of a pod whose node does no more than masquerade them', () => {
    const wrong = blockedBy([wrongRules('k8sworker1', 'echo-np-tcp', ['SVC', 'XLB'])]);
    const id = 'pod/echo-client1>echo-np-tcp/k8sworker2:31234/tcp';
    const chain = cells.find((cell) => cell.id === id)?.expected.chain ?? [];
    expect(chain.map(({ at, chains }) => `${at} ${chains ?? ''}`)).toContain('k8sworker1 LAB-NAT-OUTGOING');
    expect(wrong).not.toContain(id);
    expect(wrong).toContain('pod/echo-client1>echo-np-tcp/cluster-ip:1234/tcp');
  });

  it('are those of its pods that leave the pod network, where a node does not masquerade', () => {
    const worker = state.machines.get('k8sworker1');
    if (worker === undefined) throw new Error('no worker');
    const { natOutgoing: _, ...bare } = worker;
    const now = { ...state, machines: new Map(state.machines).set('k8sworker1', bare) };
    const isLeaving = ({ from, kind, node }: Cell) =>
      from === 'pod/echo-client1' && kind === 'node-port' && node !== 'k8sworker1';
    expect(blockedBy(checkPodNetwork(plan, now), now)).toEqual(idsOf(isLeaving));
    expect(idsOf(isLeaving)).toHaveLength(9);
    expect(blockedBy(checkPodNetwork(plan, state))).toEqual([]);
  });

  it('are not those of a name that cannot be resolved anyway, nor those of an unrouted client', () => {
    const missing = blockedBy([
      ...router('10.255.0.192/26', W3 ?? '', 'absent'),
      ...router('2.2.2.2/32', ALL, 'absent'),
    ]);
    expect(missing.filter((id) => id.includes('headless') || id.startsWith('ubuntu>'))).toEqual([]);
  });

  it('keep the cause that they have already', () => {
    const given = cells.map((cell) => ({ ...cell, blockedBy: 'workloads.client-pod' }));
    const layered = layerChecks(plan, router('2.2.2.2/32', ALL, 'absent'));
    expect(blockCells(plan, state, layered, given)).toEqual(given);
  });

  it('are none where the state has moved and the checks with it', () => {
    const scaled = endpointsOf({ ready: ['echo-server1', 'echo-client1'] });
    expect(blockedBy(router('2.2.2.2/32', W1 ?? '', W1 ?? ''), scaled)).toEqual([]);
  });

  it('do not depend on a route that a node holds for its own sake', () => {
    expect(blockedBy([route('k8sworker1.kernel', '10.255.0.64/26', 'blackhole', 'absent')])).toEqual([]);
  });
});

describe('DNS', () => {
  const name = (host: string, outcome: 'ok' | 'dns-error' | 'dns-nxdomain') =>
    makeCheck(
      'dns',
      { from: 'pod/echo-client1', type: 'A', name: `${host}.echo-server.svc.cluster.local` },
      {
        verdict: outcome === 'ok' ? 'passed' : 'failed',
        reason: outcome === 'ok' ? 'as-wanted' : outcome === 'dns-error' ? 'no-answer' : 'no-such-name',
        wanted: { outcome: 'ok', answers: ['10.0.0.1'], rule: 'pod' },
        seen: { outcome, answers: [], detail: null },
      },
    );
  const cell = cells.find(({ id }) => id === 'pod/echo-client1>server2.headless:1234/tcp');
  if (cell === undefined) throw new Error('no such cell');
  const result = (seen: Partial<Observation>, verdict: CellResult['verdict'] = 'failed'): CellResult => ({
    cell,
    observed: rightly(cell, seen),
    verdict,
    finding: null,
  });

  it('that does not answer is one cause, and blocks the cells whose names it is asked for', () => {
    const { checks, results } = layerDns(
      [name('headless', 'dns-error'), name('server2.headless', 'dns-error')],
      [result({ outcome: 'dns-error' })],
    );
    expect(checks.map(({ verdict }) => verdict)).toEqual(['failed', 'blocked']);
    expect(results[0]).toMatchObject({
      verdict: 'blocked',
      finding: { reason: 'name-blocked', by: 'dns.a.headless.echo-server.svc.cluster.local' },
    });
  });

  it('that denies two names has two faults', () => {
    const { checks } = layerDns(
      [name('headless', 'dns-nxdomain'), name('server2.headless', 'dns-nxdomain'), name('x', 'ok')],
      [],
    );
    expect(checks.map(({ verdict }) => verdict)).toEqual(['failed', 'failed', 'passed']);
  });

  it('is no excuse for a cell whose name was resolved', () => {
    const dns = [name('server2.headless', 'dns-error')];
    const timeout = result({ outcome: 'timeout' });
    expect(layerDns(dns, [timeout]).results).toEqual([timeout]);
    const passed = result({ outcome: 'dns-nxdomain' }, 'passed');
    expect(layerDns(dns, [passed]).results).toEqual([passed]);
  });

  it('that answers its own question does not hide a name that did not resolve', () => {
    const red = result({ outcome: 'dns-error' });
    expect(layerDns([name('server2.headless', 'ok')], [red]).results).toEqual([red]);
  });
});
