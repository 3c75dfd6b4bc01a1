import { describe, expect, it } from 'vitest';
import { parseCalicoObjects } from '../../scripts/bgp/calico/objects.ts';
import { calicoSettings } from '../../scripts/bgp/calico/settings.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import { checkPolicies } from '../../scripts/matrix/pod-network.ts';
import { parseSelector } from '../../scripts/matrix/policy/selector.ts';
import { proveResults } from '../../scripts/matrix/proof.ts';
import type { RuleCounters } from '../../scripts/matrix/proof-counters.ts';
import { dropPointOf, stoppingRules } from '../../scripts/matrix/proof-drops.ts';
import { movedParts } from '../../scripts/matrix/state/fingerprint.ts';
import { parsePolicies } from '../../scripts/matrix/state/policies.ts';
import { readCluster } from '../../scripts/matrix/state/read.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import type { Cell, CellResult } from '../../scripts/matrix/types.ts';
import { describeCheck } from '../../scripts/report/check-text.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { kubectlJson, planOf, rightly } from './fixtures.ts';
import { ADDRESS, flowSource, type LabWish, PORT, syntheticLab, targetNamed } from './synthetic-lab.ts';

describe("a selector in Calico's language", () => {
  const labels = { role: 'db', 'a.b/c-d': 'x', 'projectcalico.org/namespace': 'shop', empty: '' };

  it.each([
    ['', true],
    [' all() ', true],
    ['global()', false],
    ["role == 'db'", true],
    ['role=="web"', false],
    ["role != 'db'", false],
    ["nothing != 'db'", true],
    ["role in {'web', 'db'}", true],
    ['role in {}', false],
    ["nothing in {'web'}", false],
    ["role not in { 'web' }", true],
    ["nothing not in {'web'}", true],
    ["role not   in {'db'}", false],
    ['has(a.b/c-d)', true],
    ['!has(nothing)', true],
    ['has(empty)', true],
    ["role contains 'd'", true],
    ["role starts with 'b'", false],
    ["role ends with 'b'", true],
    ["a.b/c-d == 'x' && role == 'web' || has(role)", true],
    ["a.b/c-d == 'x' && (role == 'web' || has(nothing))", false],
    ["!(role == 'web') && !!all()", true],
    ["projectcalico.org/namespace == 'shop'", true],
  ])('%s: %s', (text, wanted) => {
    expect(parseSelector(text)(labels)).toBe(wanted);
  });

  it.each([
    "role = 'db'",
    'role',
    'role == db',
    "role == 'db' &&",
    "role in {'a' 'b'}",
    'all',
    "(role == 'db'",
    'has(a',
    'ä',
  ])('%s is not understood', (text) => {
    expect(() => parseSelector(text)).toThrow('is not understood at');
  });
});

type Objects = readonly object[];

/** A lab with policies: p1 on w1 and p2 on w2 serve, c1 is on w1. `own`: Calico's own objects; absent: without Calico. */
function labWith(
  kubernetes: Objects,
  own: Objects | null = [],
  wish: LabWish = {},
  admin: Objects = [],
): ObservedState {
  const state = syntheticLab({ ...wish, version: '1.36.3' });
  const calico = own === null ? undefined : parseCalicoObjects(JSON.stringify({ items: own }));
  const pods = state.pods.map(({ name, ip, hostNetwork }) => ({
    kind: 'Pod',
    metadata: {
      name,
      namespace: name.startsWith('c') ? 'office' : 'shop',
      labels: { app: name.replace(/\d/, '') },
    },
    spec: {
      hostNetwork,
      containers: [{ ports: [{ name: 'web', containerPort: PORT }] }, {}],
    },
    status: { podIP: ip },
  }));
  const namespaces = ['shop', 'office'].map((name) => ({
    kind: 'Namespace',
    metadata: { name, labels: { floor: name === 'shop' ? '0' : '1' } },
  }));
  const items = [...pods, ...namespaces, ...kubernetes];
  return {
    ...state,
    ...(calico === undefined ? {} : { calico: calicoSettings(calico) }),
    policies: parsePolicies(JSON.stringify({ items }), calico, JSON.stringify({ items: admin })),
  };
}

const policy = (spec: object, name = 'p') => ({
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'shop' },
  spec: { podSelector: {}, ...spec },
});
const calicos = (spec: object, name = 'g') => ({ kind: 'GlobalNetworkPolicy', metadata: { name }, spec });
const ingress = (...rules: object[]) => policy({ ingress: rules });
const block = (cidr: string, ...except: string[]) => ({ from: [{ ipBlock: { cidr, except } }] });

function outcome(state: ObservedState, from: string, to: string): string {
  const { expected, chance, skipped } = predict(
    networkOf(state),
    flowSource(state, from),
    targetNamed(state, to),
  );
  return skipped ?? (chance === undefined ? expected.outcome : 'chance');
}
const admin = (spec: object, kind = 'AdminNetworkPolicy') => ({ kind, metadata: { name: 'a' }, spec });
const subject = (floor: string) => ({ namespaces: { matchLabels: { floor } } });
const inShop = (app: string) => ({
  pods: { namespaceSelector: { matchLabels: { floor: '0' } }, podSelector: { matchLabels: { app } } },
});

/** From the client near, to p1. */
const atPod = (state: ObservedState, from = 'near', to = 'pod/p1') => outcome(state, from, to);

describe("Kubernetes' policies", () => {
  it.each<[string, object, string]>([
    ['of ingress without rules let nobody in', ingress(), 'timeout'],
    ['with an empty rule let everybody in', ingress({}), 'ok'],
    ['select by labels', policy({ podSelector: { matchLabels: { app: 'other' } } }), 'ok'],
    [
      'select by expressions',
      policy({ podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['p'] }] } }),
      'timeout',
    ],
    [
      'do not select what has the label',
      policy({ podSelector: { matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] } }),
      'ok',
    ],
    ['of egress alone let everybody in', policy({ policyTypes: ['Egress'] }), 'ok'],
    ['with rules of egress still are of ingress', policy({ egress: [{}] }), 'timeout'],
    ['let a prefix in', ingress(block('10.1.0.0/24')), 'ok'],
    ['but not what it excepts', ingress(block('10.1.0.0/24', `${ADDRESS.near}/32`)), 'timeout'],
    ['let the port in', ingress({ ports: [{ port: PORT }] }), 'ok'],
    ['not another', ingress({ ports: [{ port: PORT + 1 }] }), 'timeout'],
    ['a range of ports', ingress({ ports: [{ port: 1, endPort: PORT }] }), 'ok'],
    ['a range below it', ingress({ ports: [{ port: 1, endPort: PORT - 1 }] }), 'timeout'],
    ['a port by name', ingress({ ports: [{ port: 'web' }] }), 'ok'],
    ['another name', ingress({ ports: [{ port: 'metrics' }] }), 'timeout'],
    ['another protocol', ingress({ ports: [{ protocol: 'UDP', port: PORT }] }), 'timeout'],
    ['any port of a protocol', ingress({ ports: [{ protocol: 'TCP' }] }), 'ok'],
    ['what comes from no pod is no pod', ingress({ from: [{ podSelector: {} }] }), 'timeout'],
  ])('%s', (_, each, wanted) => {
    expect(atPod(labWith([each]))).toBe(wanted);
  });

  it.each<[string, object, string]>([
    ['pods of its own namespace', { podSelector: {} }, 'timeout'],
    ['pods of every namespace', { namespaceSelector: {} }, 'ok'],
    ['a namespace by label', { namespaceSelector: { matchLabels: { floor: '1' } } }, 'ok'],
    ['another namespace', { namespaceSelector: { matchLabels: { floor: '0' } } }, 'timeout'],
    ['both', { namespaceSelector: {}, podSelector: { matchLabels: { app: 'c' } } }, 'ok'],
    ['not both', { namespaceSelector: {}, podSelector: { matchLabels: { app: 'p' } } }, 'timeout'],
  ])('let in %s', (_, peer, wanted) => {
    expect(outcome(labWith([ingress({ from: [peer] })]), 'pod/c1', 'pod/p1')).toBe(wanted);
  });

  it('add up: what one of them lets in is in', () => {
    expect(atPod(labWith([ingress(), policy({ ingress: [{}] }, 'q')]))).toBe('ok');
  });

  it('see the source as it is where the packet gets to the pod: before its node masquerades, after another has', () => {
    const state = labWith([ingress(block(ADDRESS.near))], [], { service: { policy: 'Cluster' } });
    // w1 has p1 itself and sees the client; w2 gets the address of w1.
    expect(outcome(state, 'near', 'node-port/w1')).toBe('chance');
    expect(outcome(state, 'near', 'node-port/w3')).toBe('timeout');
    const local = labWith([ingress(block(ADDRESS.near))]);
    expect([outcome(local, 'near', 'node-port/w1'), outcome(local, 'far', 'node-port/w1')]).toEqual([
      'ok',
      'timeout',
    ]);
  });

  it('do not matter to a node and its own pods', () => {
    const state = labWith([ingress()]);
    expect([outcome(state, 'w1', 'pod/p1'), outcome(state, 'w2', 'pod/p1')]).toEqual(['ok', 'timeout']);
    expect(outcome(state, 'w1', 'cluster-ip')).toBe('chance');
    expect(outcome(state, 'w3', 'cluster-ip')).toBe('timeout');
  });

  it('of egress are asked after translation, on the node of the pod', () => {
    const out = (...egress: object[]) => ({
      ...policy({ policyTypes: ['Egress'], egress }),
      metadata: { name: 'out', namespace: 'office' },
    });
    const to = (cidr: string, port: number) => ({
      to: [{ ipBlock: { cidr, except: [] } }],
      ports: [{ port }],
    });
    const pods = labWith([out(to('10.2.0.0/16', PORT))]);
    for (const target of ['pod/p1', 'pod/p2', 'cluster-ip'])
      expect(outcome(pods, 'pod/c1', target)).toBe('ok');
    // Another node translates its node ports itself; its own node lets nothing out either.
    expect(outcome(pods, 'pod/c1', 'node-port/w2')).toBe('timeout');
    expect(outcome(labWith([out(to('10.1.0.0/16', 30080))]), 'pod/c1', 'node-port/w2')).toBe('ok');
    expect(outcome(labWith([out()]), 'pod/c1', 'node-port/w1')).toBe('timeout');
    expect(outcome(labWith([out()]), 'near', 'pod/p1')).toBe('ok');
  });
});

describe("Calico's policies", () => {
  const deny = { action: 'Deny' };
  it.each<[string, Objects, string]>([
    ['deny', [calicos({ ingress: [deny] })], 'timeout'],
    [
      'deny what none of their rules is about',
      [calicos({ ingress: [{ action: 'Allow', protocol: 'UDP' }] })],
      'timeout',
    ],
    ['log and go on', [calicos({ ingress: [{ action: 'Log' }, { action: 'Allow' }] })], 'ok'],
    ['pass to the profile, which allows', [calicos({ ingress: [{ action: 'Pass' }, deny] })], 'ok'],
    ['are for ingress where they have no rules', [calicos({})], 'timeout'],
    ['are for egress where they have rules for that alone', [calicos({ egress: [deny] })], 'ok'],
    ['select by labels', [calicos({ selector: "app == 'other'", ingress: [deny] })], 'ok'],
    [
      'select by labels of namespaces',
      [calicos({ namespaceSelector: "floor == '0'", ingress: [deny] })],
      'timeout',
    ],
    ['not by those of others', [calicos({ namespaceSelector: "floor == '1'", ingress: [deny] })], 'ok'],
    [
      'select by labels that namespaces hand on',
      [calicos({ selector: "pcns.floor == '0'", ingress: [deny] })],
      'timeout',
    ],
    ['before translation are for host endpoints', [calicos({ preDNAT: true, ingress: [deny] })], 'ok'],
    [
      'are asked by order',
      [
        calicos({ order: 2, ingress: [deny] }, 'a'),
        calicos({ order: 1, ingress: [{ action: 'Allow' }] }, 'b'),
      ],
      'ok',
    ],
    [
      'without an order come last',
      [calicos({ ingress: [deny] }, 'a'), calicos({ order: 1, ingress: [{ action: 'Allow' }] }, 'b')],
      'ok',
    ],
    [
      'of one order by name',
      [
        calicos({ order: 1, ingress: [{ action: 'Allow' }] }, 'b'),
        calicos({ order: 1, ingress: [deny] }, 'a'),
      ],
      'timeout',
    ],
    [
      'are asked by the order of tiers',
      [
        { kind: 'Tier', metadata: { name: 'first' }, spec: { order: 5 } },
        calicos({ tier: 'first', ingress: [{ action: 'Pass' }] }, 'a'),
        calicos({ order: 1, ingress: [deny] }, 'b'),
      ],
      'timeout',
    ],
    [
      'of a tier that passes by default go on',
      [
        { kind: 'Tier', metadata: { name: 'first' }, spec: { order: 5, defaultAction: 'Pass' } },
        calicos({ tier: 'first', ingress: [] }, 'a'),
      ],
      'ok',
    ],
    [
      'of a source',
      [calicos({ ingress: [{ ...deny, source: { nets: ['10.1.0.7/32'] } }, { action: 'Allow' }] })],
      'timeout',
    ],
    [
      'not of a source',
      [calicos({ ingress: [{ ...deny, source: { notNets: ['10.1.0.7/32'] } }, { action: 'Allow' }] })],
      'ok',
    ],
    [
      'by ports',
      [calicos({ ingress: [{ action: 'Allow', protocol: 6, destination: { ports: [1, '70:90'] } }] })],
      'ok',
    ],
    [
      'not by ports',
      [calicos({ ingress: [{ action: 'Allow', protocol: 'TCP', destination: { notPorts: ['web'] } }] })],
      'timeout',
    ],
    ['not by protocol', [calicos({ ingress: [{ action: 'Allow', notProtocol: 'TCP' }] })], 'timeout'],
    [
      'of a set of networks',
      [
        {
          kind: 'GlobalNetworkSet',
          metadata: { name: 's', labels: { who: 'near' } },
          spec: { nets: ['10.1.0.7/32'] },
        },
        calicos({ ingress: [{ action: 'Allow', source: { selector: "who == 'near'" } }] }),
      ],
      'ok',
    ],
    [
      'not of a set of networks',
      [
        {
          kind: 'GlobalNetworkSet',
          metadata: { name: 's', labels: { who: 'near' } },
          spec: { nets: ['10.1.0.7/32'] },
        },
        calicos({ ingress: [{ action: 'Allow', source: { notSelector: "who == 'near'" } }] }),
      ],
      'timeout',
    ],
    [
      'that are shown for those of Kubernetes count once',
      [{ kind: 'NetworkPolicy', metadata: { name: 'knp.default.p', namespace: 'shop' }, spec: {} }],
      'ok',
    ],
  ])('%s', (_, own, wanted) => {
    expect(atPod(labWith([], own))).toBe(wanted);
  });

  it.each<[string, object, string]>([
    ['its own namespace', { selector: "app == 'c'" }, 'timeout'],
    ['namespaces that it selects', { selector: 'all()', namespaceSelector: "floor == '1'" }, 'ok'],
    ['what has no namespace', { namespaceSelector: 'global()' }, 'timeout'],
    ['service accounts', { serviceAccounts: { names: ['default'] }, namespaceSelector: 'all()' }, 'ok'],
    ['other service accounts', { serviceAccounts: { names: ['x'] }, namespaceSelector: 'all()' }, 'timeout'],
  ])('in a namespace select %s', (_, source, wanted) => {
    const own = {
      kind: 'NetworkPolicy',
      metadata: { name: 'own', namespace: 'shop' },
      spec: { ingress: [{ action: 'Allow', source }] },
    };
    expect(outcome(labWith([], [own]), 'pod/c1', 'pod/p1')).toBe(wanted);
  });

  it.each<[string, Objects, RegExp]>([
    ['an unknown selector', [calicos({ selector: 'a ~ b' })], /selector "a ~ b" is not understood/],
    ['source ports', [calicos({ ingress: [{ action: 'Deny', source: { ports: [1] } }] })], /source ports/],
    [
      'services',
      [calicos({ ingress: [{ action: 'Deny', destination: { services: { name: 'x' } } }] })],
      /services/,
    ],
    ['HTTP', [calicos({ ingress: [{ action: 'Allow', http: { methods: ['GET'] } }] })], /HTTP/],
    [
      'an action that is new',
      [calicos({ ingress: [{ action: 'Mirror' }] })],
      /GlobalNetworkPolicy g: it is not what was expected/,
    ],
    ['a tier that is not there', [calicos({ tier: 'gone' })], /tier gone, which is not there/],
    [
      'a host endpoint',
      [{ kind: 'HostEndpoint', metadata: { name: 'h' }, spec: { node: 'w1' } }],
      /HostEndpoint h of w1/,
    ],
  ])('with %s are not known', (_, own, reason) => {
    expect(atPod(labWith([], own))).toMatch(reason);
  });

  it('with a host endpoint that allows everything are', () => {
    const endpoint = (profiles: string[]) => ({
      kind: 'HostEndpoint',
      metadata: { name: 'h' },
      spec: { node: 'w1', profiles },
    });
    expect(atPod(labWith([], [endpoint(['projectcalico-default-allow'])]))).toBe('ok');
    expect(atPod(labWith([], [endpoint(['projectcalico-default-allow']), calicos({ order: 1 })]))).toMatch(
      /HostEndpoint/,
    );
  });

  it.each<[string, object, string]>([
    ['of the namespace', admin({ subject: subject('0'), ingress: [{}] }), 'not modelled'],
    ['of another one', admin({ subject: subject('1'), ingress: [{}] }), 'ok'],
    ['for egress alone', admin({ subject: subject('0'), egress: [{}] }), 'ok'],
    ['of such pods', admin({ subject: inShop('p'), ingress: [{}] }), 'not modelled'],
    ['of other pods', admin({ subject: inShop('x'), ingress: [{}] }), 'ok'],
    ['in words that are new', admin({ who: 'all' }), 'not modelled'],
    [
      'that is a baseline',
      admin({ subject: subject('0'), ingress: [{}] }, 'BaselineAdminNetworkPolicy'),
      'not modelled',
    ],
  ])('do not tell what a policy of policy.networking.k8s.io does: one %s', (_, made, wanted) => {
    const text = outcome(labWith([], [], {}, [made]), 'near', 'pod/p1');
    if (wanted === 'ok') expect(text).toBe(wanted);
    else expect(text).toMatch(/(Baseline)?AdminNetworkPolicy a: policies of this kind are not modelled/);
  });

  it('come before those of Kubernetes or after, by their order', () => {
    const rule = (order: number, action: string) => calicos({ order, ingress: [{ action }] });
    expect(atPod(labWith([ingress({})], [rule(10, 'Deny')]))).toBe('timeout');
    expect(atPod(labWith([ingress({})], [rule(2000, 'Deny')]))).toBe('ok');
    // What none of the rules of one is about is for the next.
    expect(atPod(labWith([ingress()], [rule(2000, 'Allow')]))).toBe('ok');
  });
});

describe('a policy', () => {
  it('that nothing enforces changes nothing, and is said once', () => {
    const state = labWith([ingress()], null);
    expect(atPod(labWith([ingress()], null))).toBe('ok');
    const [check, ...others] = checkPolicies(state);
    expect(others).toEqual([]);
    expect(check).toMatchObject({ id: 'pod-network.policies', verdict: 'failed', reason: 'not-enforced' });
    if (check === undefined) return;
    expect(describeCheck(check).observed).toBe('NetworkPolicy shop/p: it is there, and nothing enforces it');
  });

  it('that Calico enforces is no fault, and none at all is nothing to speak of', () => {
    expect(checkPolicies(labWith([ingress()]))[0]).toMatchObject({ verdict: 'passed' });
    expect(checkPolicies(labWith([]))).toEqual([]);
  });

  it('that is not modelled is told once', () => {
    const made = [admin({ subject: subject('0'), ingress: [{}] })];
    const state = labWith([ingress()], [], {}, made);
    const [check, ...others] = checkPolicies(state);
    expect(others).toEqual([]);
    expect(check).toMatchObject({ verdict: 'skipped', reason: 'not-modelled' });
    expect(describeCheck(check ?? expect.fail('no check')).observed).toBe(
      'NetworkPolicy shop/p: enforced by Calico; AdminNetworkPolicy a: not modelled',
    );
    expect(checkPolicies(labWith([], null, {}, made))[0]).toMatchObject({ reason: 'not-enforced' });
    expect(movedParts(labWith([ingress()]), state)).toEqual([
      expect.stringMatching(/^AdminNetworkPolicy a: absent -> /),
    ]);
  });

  it('of policy.networking.k8s.io is asked for where the API serves it', async () => {
    const [group, kinds] = [
      'policy.networking.k8s.io',
      ['adminnetworkpolicies', 'adminnetworkpolicies/status', 'baselineadminnetworkpolicies'],
    ];
    const served = kinds.filter((name) => !name.includes('/')).map((name) => `${name}.${group}`);
    const answers = new Map<string, unknown>([
      [`get --raw /apis/${group}`, { versions: [{ groupVersion: `${group}/v1alpha1` }] }],
      [`get --raw /apis/${group}/v1alpha1`, { resources: kinds.map((name) => ({ name })) }],
      [`get ${served.join()} -A -o json`, { items: [admin({ subject: subject('0') })] }],
    ]);
    const read = async (isServed: boolean) => {
      const executor = recordingExecutor((argv) => {
        const line = argv.slice(argv.indexOf('--request-timeout') + 2).join(' ');
        if (line.includes('services,')) return kubectlJson();
        if (line.includes('configmap')) return '';
        return isServed ? JSON.stringify(answers.get(line)) : { exitCode: 1 };
      });
      const kubectl = kubectlWith(executor, { binary: 'kubectl', kubeconfig: '/x/kubeconfig' });
      const { policies } = await readCluster(kubectl, planOf());
      const calls = executor.calls.length;
      await readCluster(kubectl, planOf());
      return { names: policies?.admin.map(({ name }) => name), again: executor.calls.length - calls };
    };
    expect(await read(true)).toEqual({ names: ['AdminNetworkPolicy a'], again: 3 });
    expect(await read(false)).toEqual({ names: [], again: 2 });
  });

  it('that changes, or labels that do, move what was predicted', () => {
    const before = labWith([ingress()]);
    expect(movedParts(before, before)).toEqual([]);
    expect(movedParts(before, labWith([ingress({})]))[0]).toMatch(/^NetworkPolicy shop\/p: /);
    const relabelled = {
      ...before,
      policies: { ...before.policies, pods: before.policies?.pods.map((pod) => ({ ...pod, labels: {} })) },
    } as ObservedState;
    expect(movedParts(before, relabelled)[0]).toMatch(/^labels of pod office\/c1: /);
    const leaving = (state: ObservedState): ObservedState => {
      const deleted = { namespace: 'office', name: 'office/c1', ready: false, isDeleted: true } as const;
      return {
        ...state,
        pods: state.pods.map((pod) => (pod.name === 'c1' ? { ...pod, ...deleted } : pod)),
      };
    };
    expect(movedParts(leaving(before), leaving(relabelled)).some((part) => part.includes('c1'))).toBe(false);
  });

  it('that stops a connection is proven by what its rules have counted', () => {
    const state = labWith([ingress()]);
    const target = targetNamed(state, 'pod/p1');
    const cell: Cell = {
      id: 'x',
      from: 'near',
      ...target,
      ...predict(networkOf(state), flowSource(state, 'near'), target),
    };
    const point = dropPointOf(state, cell);
    expect(point).toMatchObject({ nodes: ['w1'], key: 'policies' });
    const rule = (chain: string, target: string, comment = ''): RuleCounters[number] => ({
      ...{ table: 'filter', chain, target, packets: 1 },
      rule: `-A ${chain} -m comment --comment "cali:abc" -m comment --comment "${comment}" -j ${target}`,
    });
    const rules = [
      rule('cali-tw-veth0', 'DROP', 'End of tier default. Drop if no policies passed packet'),
      rule('cali-tw-veth0', 'DROP', 'Drop if no profiles matched'),
      rule('cali-pi-xyz', 'DROP'),
      rule('cali-pi-xyz', 'MARK'),
      rule('cali-cidr-block', 'DROP'),
    ];
    expect(point && stoppingRules(point, rules)).toEqual([rules[0], rules[2]]);
    // It is all that its source sends: what the rule has counted, and nothing else, shows that it got there.
    const [judged] = judgeCells([cell], new Map([[cell.id, rightly(cell)]]));
    expect(judged?.verdict).toBe('passed');
    const proven = (
      packets: number,
      results: readonly CellResult[] = judged === undefined ? [] : [judged],
    ) => {
      const after = rules.map((each) => ({ ...each, packets: each.packets + packets }));
      const answer = (value: RuleCounters) => new Map([['w1', { ok: true as const, value }]]);
      const logs = { ok: true as const, value: new Map() };
      const witness = { before: answer(rules), after: answer(after), logs, waitedMs: 1500 };
      return proveResults(state, results, witness);
    };
    expect(proven(1)[0]).toMatchObject({ verdict: 'passed', proof: [{ reason: 'counted' }] });
    expect(proven(0)[0]).toMatchObject({ verdict: 'harness' });
    // It is the control of what else fails from there.
    const other: Cell = {
      ...{ ...cell, id: 'y', address: '10.9.9.9' },
      expected: { outcome: 'no-route', servers: [], clients: [], why: '', chain: [] },
    };
    const both = judgeCells([cell, other], new Map([cell, other].map((each) => [each.id, rightly(each)])));
    const [, open] = both;
    expect(open?.verdict).toBe('passed');
    expect(proven(1, both)[1]).toMatchObject({
      verdict: 'passed',
      proof: [{ reason: 'control', cell: 'x', counted: true }],
    });
    expect(proven(0, both)[1]).toMatchObject({ verdict: 'harness' });
    expect(dropPointOf({ ...state, proxy: { ...state.proxy, mode: 'nftables' } }, cell)).toBeUndefined();
  });
});
