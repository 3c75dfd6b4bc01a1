import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseCalicoObjects } from '../../scripts/bgp/calico/objects.ts';
import { calicoSettings } from '../../scripts/bgp/calico/settings.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { dnsChecks, judgeDns, policedDns } from '../../scripts/matrix/dns.ts';
import { parseClusterObjects } from '../../scripts/matrix/state/cluster.ts';
import { parsePolicies } from '../../scripts/matrix/state/policies.ts';
import { proxySettings } from '../../scripts/matrix/state/proxy.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import type { Cell } from '../../scripts/matrix/types.ts';
import { machinesOf, theMachine } from '../../scripts/plan/types.ts';
import { describeCheck } from '../../scripts/report/check-text.ts';
import { planOf } from './fixtures.ts';
import { kernelsOf } from './network-of.ts';

/** What the real Calico 3.32 did with the two policies of the transcripts; see test/transcripts/README.md. */
function recorded(name: string): string {
  return readFileSync(new URL(`../transcripts/calico/${name}`, import.meta.url), 'utf8');
}

const bird = planOf();
const plan = { ...bird, choices: { ...bird.choices, cni: { value: 'calico' as const, why: 'test' } } };
const { serviceCidr, podCidr } = plan.kubernetes;
const workers = machinesOf(plan, 'worker').map(({ name }) => name);
const itemsOf = (file: string) => JSON.parse(recorded(file)).items as readonly object[];
/** The recording is of the lab's own namespace; these are as kubeadm makes them. */
const SERVERS = [
  { name: 'coredns-1', ip: '10.255.93.64', node: 'k8smaster1' },
  { name: 'coredns-2', ip: '10.255.8.9', node: 'k8sworker2' },
];
const dns = { name: 'kube-dns', namespace: 'kube-system' };
const dnsPort = { name: 'dns', port: 53, protocol: 'UDP' };
const DNS = [
  { kind: 'Service', metadata: dns, spec: { type: 'ClusterIP', clusterIP: '10.96.0.10', ports: [dnsPort] } },
  {
    kind: 'EndpointSlice',
    metadata: { ...dns, labels: { 'kubernetes.io/service-name': 'kube-dns' } },
    addressType: 'IPv4',
    endpoints: SERVERS.map(({ name, ip, node: nodeName }) => ({
      ...{ addresses: [ip], nodeName, conditions: { ready: true } },
      targetRef: { kind: 'Pod', name, namespace: 'kube-system' },
    })),
    ports: [dnsPort],
  },
  ...SERVERS.map(({ name, ip: podIP, node: nodeName }) => ({
    kind: 'Pod',
    metadata: { name, namespace: 'kube-system', uid: name },
    spec: { nodeName, containers: [] },
    status: { podIP, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  })),
  { kind: 'Namespace', metadata: { name: 'kube-system' } },
];
const OBJECTS = [...itemsOf('objects.json'), ...DNS];
const cluster = parseClusterObjects(JSON.stringify({ items: OBJECTS }));
const blocks = ['10.255.93.64/26', '10.255.230.192/26', '10.255.8.0/26', '10.255.137.0/26'];
const nodes = machinesOf(plan, 'control-plane', 'worker').map((node, at) => ({
  ...node,
  block: blocks[at] ?? '',
}));

/** With Kubernetes' policies, recorded or written here, and Calico's own ones. */
function withPolicies(policies: string | readonly object[], own = '{"items":[]}'): ObservedState {
  const made = typeof policies === 'string' ? itemsOf(policies) : policies;
  const calico = parseCalicoObjects(own);
  const kernels = kernelsOf({
    ...{ subnet: plan.network.subnet, serviceCidr, podCidr, nodes, peers: workers },
    router: theMachine(plan, 'router'),
    clients: machinesOf(plan, 'client').map(({ name, address }) => ({
      ...{ name, address, routes: name === 'routed' ? ['2.2.2.2/32', serviceCidr, podCidr] : [] },
    })),
    pods: cluster.pods.flatMap(({ ip, node }) =>
      ip === undefined || node === undefined ? [] : [{ ip, node }],
    ),
    announced: new Map([['2.2.2.2', workers]]),
  });
  const rules = {
    podsToHost: 'accept' as const,
    serviceLoop: { action: 'drop' as const, prefixes: [serviceCidr, '2.2.2.2/32'], isFirst: true },
  };
  return {
    ...cluster,
    calico: calicoSettings(calico),
    policies: parsePolicies(JSON.stringify({ items: [...OBJECTS, ...made] }), calico),
    proxy: proxySettings('', cluster.nodes).proxy,
    domain: 'cluster.local',
    machines: new Map(
      [...kernels].map(([name, kernel]) => [
        name,
        nodes.some((node) => node.name === name) ? { ...kernel, ...rules } : kernel,
      ]),
    ),
  };
}

/** As labtest's table shows what was seen: an answer, none at all, none in one of two tries. */
function sign({ expected, chance }: Cell): string {
  return chance === undefined ? (expected.outcome === 'ok' ? '✓' : expected.outcome) : '~';
}

describe('what connections under two policies really came to', () => {
  const cells = buildCells(plan, withPolicies('network-policy.json', recorded('calico-objects.json')));

  it.each(recorded('policy-truth.txt').trimEnd().split('\n'))('is what was predicted: %s', (line) => {
    const [from = '', ...columns] = line.split(/\s+/);
    const own = cells.filter((cell) => cell.from === from);
    const signs = own.map(sign).map((each) => (each.length > 1 ? '·' : each));
    expect(signs.join('')).toBe(columns.join('').replaceAll('✗', '·'));
  });

  it('is a silent drop, told by the policy that denies it', () => {
    const denied = cells.find(({ id }) => id === 'routed>pod/echo-server1:5678/udp')?.expected;
    expect(denied).toMatchObject({
      outcome: 'timeout',
      why: 'routed sends it to bgp; k8sworker1 drops the packet, because GlobalNetworkPolicy deny-udp-from-routed denies 192.168.13.40 port 5678/udp.',
    });
    expect(denied?.chain.at(-1)).toMatchObject({
      at: 'k8sworker1',
      chains: ['cali-FORWARD', 'cali-to-wl-dispatch', expect.stringMatching(/^cali-tw-/)],
    });
    const translated = cells.find(({ id }) => id === 'routed>echo-server-udp/k8sworker2:31678/udp')?.expected;
    expect(translated).toMatchObject({
      outcome: 'timeout',
      why: expect.stringContaining('deny-udp-from-routed'),
    });
    expect(translated?.chain.at(-1)?.text).toContain('deny-udp-from-routed');
  });

  it('is decided by chance where a node masquerades for the pods of others', () => {
    const cell = cells.find(({ id }) => id === 'routed>echo-server-udp/cluster-ip:5678/udp');
    expect(cell?.chance).toBe('chance decides between ok and timeout');
    expect(cell?.expected.why).toContain('GlobalNetworkPolicy deny-udp-from-routed');
    expect(cell?.expected.clients).toEqual(['192.168.13.35', '192.168.13.36', '192.168.13.37']);
  });
});

describe('the policy that lets some in, alone', () => {
  const cells = buildCells(plan, withPolicies('network-policy.json'));
  const outcome = (id: string) => sign(cells.find((cell) => cell.id === id) as Cell);

  it.each([
    // Whoever the nodes' rules show: the client where they keep it, the node that masquerades elsewhere.
    ['ubuntu>echo-np-tcp/k8sworker1:31234/tcp', 'timeout'],
    ['routed>echo-np-tcp/k8sworker1:31234/tcp', '✓'],
    ['routed>echo-lb-tcp/2.2.2.2:1234/tcp', '✓'],
    ['routed>pod/echo-server2:5678/udp', 'timeout'],
    ['pod/echo-client1>pod/echo-server2:1234/tcp', '✓'],
    ['pod/echo-client1>pod/echo-server2:5678/udp', 'timeout'],
    ['pod/echo-client1>echo-server-udp/cluster-ip:5678/udp', 'timeout'],
    // A node always reaches its own pods.
    ['k8sworker1>pod/echo-server1:5678/udp', '✓'],
    ['k8sworker1>pod/echo-server2:5678/udp', 'timeout'],
    ['k8sworker1>echo-server-udp/cluster-ip:5678/udp', '~'],
    ['k8smaster1>echo-server-udp/cluster-ip:5678/udp', 'timeout'],
  ])('%s: %s', (id, wanted) => {
    expect(outcome(id)).toBe(wanted);
  });

  it('is named by what it stops', () => {
    const stopped = cells.find(({ id }) => id === 'ubuntu>echo-np-tcp/k8sworker1:31234/tcp')?.expected;
    expect(stopped?.why).toBe(
      'k8sworker1 drops the packet, because NetworkPolicy echo-server/echo-from-clients does not let 192.168.13.104 in to port 1234/tcp.',
    );
  });
});

describe("a policy between the client pod and the cluster's DNS", () => {
  const client = { podSelector: { matchLabels: { app: 'echo-client' } } };
  const egress = (...rules: readonly object[]) => ({ ...client, policyTypes: ['Egress'], egress: rules });
  const policy = (spec: object, namespace = 'echo-server') => ({
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace },
    spec,
  });
  const udp53 = { ports: [{ protocol: 'UDP', port: 53 }] };
  const state = (...policies: readonly object[]) => withPolicies(policies);
  const named = (of: ObservedState) =>
    buildCells(plan, of).find(({ id }) => id === 'pod/echo-client1>headless:1234/tcp');

  it.each([
    ['no rule for it', policy(egress()), 'does not let pod echo-client1 out to'],
    [
      'a rule for TCP alone',
      policy(egress({ ports: [{ port: 53 }] })),
      'does not let pod echo-client1 out to',
    ],
    [
      'nothing let in by CoreDNS',
      policy({ podSelector: {}, policyTypes: ['Ingress'] }, 'kube-system'),
      'does not let 10.255.',
    ],
  ])('leaves no answer to be expected: %s', (_, made, reason) => {
    const policed = policedDns(plan, state(made));
    expect(policed).toMatchObject({ outcome: 'dns-error', policy: expect.stringContaining(reason) });
    const cell = named(state(made));
    expect(cell?.expected).toMatchObject({ outcome: 'dns-error', why: expect.stringContaining(reason) });
    expect(cell?.expected.chain.at(-1)?.chains?.at(-1)).toMatch(/^cali-[ft]w-/);
    const checks = dnsChecks(plan, cluster, policed);
    const judged = (outcome: 'ok' | 'dns-error') =>
      judgeDns(
        checks,
        new Map(
          checks.map(({ question, wanted }) => [
            question.id,
            { outcome, answers: wanted.answers, detail: null },
          ]),
        ),
      );
    for (const check of judged('dns-error')) {
      expect(check.verdict).toBe('passed');
      expect(describeCheck(check).why).toContain(reason);
    }
    for (const { verdict } of judged('ok')) expect(verdict).toBe('failed');
  });

  it.each([
    ['the port', policy(egress(udp53))],
    ['ingress alone', policy({ ...client, policyTypes: ['Ingress'] })],
  ])('lets questions through: %s', (_, made) => {
    expect(policedDns(plan, state(made))).toBe(undefined);
  });

  it('leaves it open where it lets one of two servers be asked', () => {
    const some = egress({ to: [{ ipBlock: { cidr: `${SERVERS[0]?.ip}/32` } }], ...udp53 });
    const policed = policedDns(plan, state(policy(some)));
    expect(policed).toMatchObject({ outcome: 'harness-error', policy: expect.stringContaining('some of') });
    expect(named(state(policy(some)))?.skipped).toContain('some of');
    for (const check of judgeDns(dnsChecks(plan, cluster, policed), new Map()))
      expect(check).toMatchObject({ verdict: 'skipped', reason: 'policy-not-known' });
  });
});
