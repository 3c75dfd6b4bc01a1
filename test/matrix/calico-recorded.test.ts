import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { unsettled } from '../../scripts/bgp/calico/node-status.ts';
import { parseCalicoObjects } from '../../scripts/bgp/calico/objects.ts';
import { podBlocksOf } from '../../scripts/bgp/calico/settings.ts';
import { parseRoutes as parseBirdRoutes, parseProtocols } from '../../scripts/bgp/checks/bird.ts';
import { parseBgpRoutes, parseNeighbors, parseRib } from '../../scripts/bgp/checks/frr.ts';
import { parseKernelRoutes } from '../../scripts/bgp/checks/tables.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { dnsChecks, judgeDns } from '../../scripts/matrix/dns.ts';
import { checkPodNetwork } from '../../scripts/matrix/pod-network.ts';
import { parseCounters } from '../../scripts/matrix/proof-counters.ts';
import { checkRules } from '../../scripts/matrix/rule-checks.ts';
import { parsePodsToHost, parseServiceLoop } from '../../scripts/matrix/state/calico-filter.ts';
import { parseClusterObjects } from '../../scripts/matrix/state/cluster.ts';
import { machineState } from '../../scripts/matrix/state/machine.ts';
import { parseDropsInvalid } from '../../scripts/matrix/state/nat.ts';
import { parseNftTables } from '../../scripts/matrix/state/nft.ts';
import { proxySettings } from '../../scripts/matrix/state/proxy.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import type { DnsAnswer } from '../../scripts/matrix/types.ts';
import { machinesOf, theMachine } from '../../scripts/plan/types.ts';
import { describeCheck } from '../../scripts/report/check-text.ts';
import { planOf } from './fixtures.ts';
import { kernelsOf } from './network-of.ts';

/** What the real k3s 1.36, CoreDNS, Calico 3.32 and FRR said; see test/transcripts/README.md. */
function recorded(name: string): string {
  return readFileSync(new URL(`../transcripts/calico/${name}`, import.meta.url), 'utf8');
}

const said = (name: string) => ({ ok: true as const, value: recorded(name) });
const KINDS = recorded('k8sworker1-kinds-iptables.txt');
const SETS = ['masq-ipam-pools', 'network-ip-pools'].flatMap((name) => [
  `create cali40${name} hash:net family inet`,
  `add cali40${name} 10.255.0.0/16`,
]);
const WORKERS = ['192.168.13.35', '192.168.13.36', '192.168.13.37'];

type Mode = 'iptables' | 'nftables';
/** Where kube-proxy and Calico use nftables, iptables has nothing of them. */
const RULES = {
  iptables: { iptables: KINDS, nft: '' },
  nftables: {
    iptables: readFileSync(
      new URL('../transcripts/rules/nftables-mode-iptables.txt', import.meta.url),
      'utf8',
    ),
    nft: recorded('k8sworker1-kinds-nft.jsonl'),
  },
};

/** One table as iptables-save prints it without counters. */
function table(name: string, mode: Mode = 'iptables'): string {
  const all = RULES[mode].iptables;
  const start = all.indexOf(`*${name}\n`);
  return all.slice(start, all.indexOf('COMMIT', start)).replaceAll(/^\[\d+:\d+\] /gm, '');
}

function machine(name: string, mode: Mode = 'iptables') {
  const answers = {
    routes: said(`${name}-route.json`),
    addresses: said(`${name}-addr.json`),
    rules: said(`${name}-rule.json`),
    sysctls: said(`${name}-sysctl.txt`),
  };
  return machineState(name, answers, {
    nat: { ok: true, value: table('nat', mode) },
    filter: { ok: true, value: table('filter', mode) },
    sets: { ok: true, value: mode === 'iptables' ? SETS.join('\n') : '' },
    nft: { ok: true, value: RULES[mode].nft },
  });
}

function stateOf(...files: readonly string[]): ObservedState {
  const parts = files.map((file) => parseClusterObjects(recorded(file)));
  const { nodes, pods } = parseClusterObjects(recorded('objects.json'));
  return {
    services: parts.flatMap(({ services }) => services),
    externalNames: [{ namespace: 'echo-server', name: 'elsewhere', target: 'Example.org.' }],
    podRecords: true,
    pods,
    nodes,
    proxy: proxySettings('', nodes).proxy,
    domain: 'cluster.local',
    machines: new Map(['k8smaster1', 'k8sworker1'].map((name) => [name, machine(name)])),
  };
}

const bird = planOf();
const plan = {
  ...bird,
  kubernetes: { ...bird.kubernetes, dns: 'coredns' as const },
  choices: { ...bird.choices, cni: { value: 'calico' as const, why: 'test' } },
};
const state = stateOf('objects.json');
const kinds = stateOf('kinds.json');
const NAMESPACE = 'echo-server.svc.cluster.local';

describe('a node with Calico', () => {
  it('is read as it is', () => {
    expect(machine('k8sworker1')).toMatchObject({
      ipForward: true,
      hashPolicy: 0,
      natOutgoing: { chain: 'cali-nat-outgoing', sources: ['10.255.0.0/16'], except: ['10.255.0.0/16'] },
      serviceLoop: { action: 'drop', prefixes: ['10.96.0.0/12', '2.2.2.2/32'], isFirst: true },
      podsToHost: 'accept',
      dropsInvalid: true,
    });
    expect(machine('k8sworker1')).not.toHaveProperty('problem');
    const checks = checkPodNetwork(plan, state);
    expect(checks.map(({ id, verdict, seen }) => [id, verdict, seen])).toEqual(
      ['k8smaster1', 'k8sworker1'].flatMap((name) => [
        [
          `pod-network.${name}`,
          'passed',
          { rule: { sources: ['10.255.0.0/16'], except: ['10.255.0.0/16'] } },
        ],
        [`pod-network.${name}.gateway`, 'passed', { interface: 'eth0' }],
      ]),
    );
  });

  it('is read as it is where its rules and those of kube-proxy are in nftables', () => {
    const read = machine('k8sworker1', 'nftables');
    expect(read).toMatchObject({
      natOutgoing: { chain: 'nat-cali-nat-outgoing', sources: ['10.255.0.0/16'], except: ['10.255.0.0/16'] },
      serviceLoop: { action: 'drop', prefixes: ['10.96.0.0/12', '2.2.2.2/32'], isFirst: true },
      podsToHost: 'accept',
      dropsInvalid: false,
      nftServices: { serviceCidrs: ['10.96.0.0/12'] },
    });
    expect(read).not.toHaveProperty('unread');
    expect(read.externalOwners?.get('2.2.2.2:1234/tcp')).toEqual([
      'external-RAZTFO5B-echo-server/kind-ranges/tcp/tcp',
    ]);
    expect(checkPodNetwork(plan, { ...state, machines: new Map([['k8sworker1', read]]) })).toMatchObject([
      { verdict: 'passed' },
      { verdict: 'passed' },
    ]);
  });

  it('loses one rule that is not known, not its table', () => {
    const lines = RULES.nftables.nft.replace('"expr":[', '"expr":["new",');
    const left: string[] = [];
    expect(parseNftTables(lines, (line) => left.push(line)).nftServices?.backends.size).toBe(
      machine('k8sworker1', 'nftables').nftServices?.backends.size,
    );
    expect(left).toEqual([expect.stringContaining('"expr":["new",')]);
    expect(() => parseNftTables('{"metainfo":{}}')).toThrow();
  });

  it('whose table was made before that of kube-proxy has its say after it', () => {
    const [kubeProxy = '', calico = ''] = RULES.nftables.nft.split('\n');
    const older = calico.replace(/("name":"calico","handle":)\d+/, '$11');
    expect(parseNftTables(`${kubeProxy}\n${older}`).serviceLoop?.isFirst).toBe(false);
    expect(parseNftTables(calico).serviceLoop?.isFirst).toBe(true);
  });

  it('has rules that are read from the right table only', () => {
    for (const parse of [parsePodsToHost, parseServiceLoop, parseDropsInvalid])
      expect(() => parse(table('nat'))).toThrow('not what iptables-save prints');
  });

  it.each([
    ['DROP', 'drop'],
    ['RETURN', undefined],
  ])('that is set to %s what pods send to it does so', (target, action) => {
    const changed = table('filter').replace(/(DefaultEndpointToHostAction.* -j )ACCEPT/, `$1${target}`);
    expect(parsePodsToHost(changed)).toBe(action);
  });

  it('whose own rules come after those of kube-proxy leaves these their say', () => {
    const lines = table('filter').split('\n');
    const calico = lines.filter((line) => / -j cali-INPUT$/.test(line));
    expect(parsePodsToHost([...lines.filter((line) => !calico.includes(line)), ...calico].join('\n'))).toBe(
      undefined,
    );
  });
});

describe("kube-proxy 1.36's rules", () => {
  const counters = new Map([['k8sworker1', { ok: true as const, value: parseCounters(KINDS) }]]);

  it('are right for every kind of service, PreferSameNode too', () => {
    const checks = checkRules(kinds, counters);
    expect(checks.filter(({ verdict }) => verdict !== 'passed')).toEqual([]);
    expect(checks).toHaveLength(11);
    const sameNode = checks.find(({ id }) => id === 'rules.k8sworker1.kind-same-node');
    expect(sameNode?.seen?.chains).toEqual([
      { chain: expect.stringMatching(/^KUBE-SVC-/), backends: ['10.255.230.192:1234'] },
    ]);
  });

  it('are right in nftables mode, too, and named as there', () => {
    const proxy = { ...kinds.proxy, mode: 'nftables' };
    const read = machine('k8sworker1', 'nftables');
    const look = (worker: typeof read) =>
      checkRules({ ...kinds, proxy, machines: new Map([['k8sworker1', worker]]) }, counters);
    const checks = look(read);
    expect(checks.filter(({ verdict }) => verdict !== 'passed')).toEqual([]);
    expect(checks).toHaveLength(11);
    const named = (name: string) => checks.find(({ subject }) => subject.service === name)?.seen?.chains;
    expect(named('kind-affinity')).toEqual([
      {
        chain: 'service-4UCFTRNH-echo-server/kind-affinity/tcp/tcp',
        backends: ['10.255.137.0:1234', '10.255.230.192:1234', '10.255.8.0:1234'],
      },
    ]);
    const changed = RULES.nftables.nft.replaceAll('"10.255.137.0",1234', '"10.255.137.9",1234');
    const wrong = look({ ...read, ...parseNftTables(changed) }).filter(({ verdict }) => verdict !== 'passed');
    expect(wrong.map(({ subject }) => subject.service)).toEqual([
      ...['echo-ci-tcp', 'echo-lb-tcp', 'echo-np-tcp', 'kind-external-ips', 'kind-ranges'],
    ]);
    const { nftServices: _, ...none } = read;
    expect(look(none).map(({ verdict }) => verdict)).toEqual(Array(11).fill('harness'));
  });

  it.each([
    [4, 25, 25],
    [2, 50, undefined],
  ])(
    'are not in nftables mode, where one of %i numbers is drawn for three endpoints',
    (mod, percent, lost) => {
      const text = RULES.nftables.nft.replaceAll('"mod":3', `"mod":${mod}`);
      const changed = { ...machine('k8sworker1', 'nftables'), ...parseNftTables(text) };
      const proxy = { ...kinds.proxy, mode: 'nftables' };
      const checks = checkRules({ ...kinds, proxy, machines: new Map([['k8sworker1', changed]]) }, counters);
      const wrong = checks.filter(({ reason }) => reason === 'unequal-shares');
      expect(wrong.map(({ subject }) => subject.service)).toEqual([
        ...['echo-ci-tcp', 'echo-lb-tcp', 'echo-np-tcp', 'echo-server-udp'],
        ...['kind-affinity', 'kind-external-ips', 'kind-ranges'],
      ]);
      for (const { seen } of wrong) {
        const { percents, lostPercent } = seen?.chains[0] ?? {};
        expect(percents?.map((each) => each.percent)).toEqual([
          percent,
          percent,
          lost === undefined ? 0 : percent,
        ]);
        expect(lostPercent).toBe(lost);
      }
      const [first] = wrong;
      const { observed } = describeCheck(first ?? checks[0] ?? expect.fail('no check'));
      expect(observed.includes('nobody (25 %)')).toBe(lost !== undefined);
    },
  );

  it('are not, where hints are for other nodes or an endpoint has none', () => {
    for (const hintedNodes of [['k8sworker2'], []]) {
      const services = kinds.services.map((service) => {
        const [first, ...others] = service.endpoints;
        return service.name === 'kind-same-node' && first !== undefined
          ? { ...service, endpoints: [{ ...first, hintedNodes }, ...others] }
          : service;
      });
      const wrong = checkRules({ ...kinds, services }, counters).filter(
        ({ verdict }) => verdict === 'failed',
      );
      expect(wrong.map(({ id }) => id)).toEqual(['rules.k8sworker1.kind-same-node']);
    }
  });

  it('do not meet what a pod sends to its own node: Calico accepts it first, and nobody listens', () => {
    const cells = buildCells(plan, kinds);
    const expected = (id: string) => cells.find((cell) => cell.id === id)?.expected;
    const own = expected('pod/echo-client1>kind-empty/k8sworker1:32404/tcp');
    expect(own).toMatchObject({ outcome: 'refused' });
    expect(own?.chain.at(-1)).toMatchObject({ layer: 'endpoint' });
    const other = expected('k8smaster1>kind-empty/k8sworker1:32404/tcp');
    expect(other).toMatchObject({ outcome: 'refused' });
    expect(other?.chain.at(-1)?.chains).toEqual(['KUBE-EXTERNAL-SERVICES']);
  });
});

const MODES = [
  ['iptables', 'kinds-truth.txt'],
  ['nftables', 'kinds-nft-truth.txt'],
] as const;

describe.each(MODES)(
  'what connections to seven kinds of services really came to in %s mode',
  (mode, file) => {
    /** Machines that were not recorded there: kernels of a healthy lab with these nodes, and Calico's rules. */
    const recordedWorker = machine('k8sworker1', mode);
    const { name: _, interfaces, routes, ...calico } = recordedWorker;
    const blocks = ['10.255.93.64/26', '10.255.230.192/26', '10.255.8.0/26', '10.255.137.0/26'];
    const { subnet } = plan.network;
    const { serviceCidr, podCidr } = plan.kubernetes;
    const nodes = machinesOf(plan, 'control-plane', 'worker').map((node, at) => ({
      ...node,
      block: blocks[at] ?? '',
    }));
    const names = ['k8sworker1', 'k8sworker2', 'k8sworker3'];
    // The one pod that had another address there than in objects.json.
    const pods = kinds.pods.map((pod) => (pod.ip === '10.255.8.1' ? { ...pod, ip: '10.255.8.0' } : pod));
    const others = kernelsOf({
      ...{ subnet, serviceCidr, podCidr, nodes, peers: names, router: theMachine(plan, 'router') },
      clients: machinesOf(plan, 'client').map(({ name, address }) => ({
        ...{ name, address, routes: name === 'routed' ? ['2.2.2.2/32', serviceCidr, podCidr] : [] },
      })),
      pods: pods.flatMap(({ ip, node }) => (ip === undefined || node === undefined ? [] : [{ ip, node }])),
      // A service with policy Cluster has it, so every node announces it.
      announced: new Map([['2.2.2.2', ['k8smaster1', ...names]]]),
    });
    const machines = new Map(
      [...others].map(([name, kernel]) => [
        name,
        { ...kernel, ...(nodes.some((node) => node.name === name) ? calico : {}) },
      ]),
    );
    machines.set('k8sworker1', recordedWorker);
    const cells = buildCells(plan, { ...kinds, pods, machines, proxy: { ...kinds.proxy, mode } });
    /** connect()'s own words; EINVAL is Linux's answer for a blackhole route. */
    const OUTCOMES = [
      ...[
        ['TimeoutError', 'timeout'],
        ['ConnectionRefusedError', 'refused'],
      ],
      ...[
        ['Errno 101', 'no-route'],
        ['Errno 22', 'no-route'],
        ['connected', 'ok'],
      ],
    ] as const;

    it.each(recorded(file).trimEnd().split('\n'))('is what was predicted: %s', (line) => {
      const [, from, address, port, said = ''] = /^\S+ from (.*?) to (.*?):(.*?): (.*)$/.exec(line) ?? [];
      const [, server, client] = /Server: (.*?):\d+ Client: (.*?):/.exec(said) ?? [];
      const [, outcome] = OUTCOMES.find(([words]) => said.includes(words)) ?? [];
      const predicted = cells
        .filter((cell) => cell.from === from && cell.address === address && String(cell.port) === port)
        .map(({ expected }) => expected);
      // 2.2.2.2:1234 belongs to two services there, which one has it is in the nodes' rules.
      expect(predicted.length).toBeGreaterThan(0);
      for (const each of predicted) {
        expect(each.outcome).toBe(outcome);
        if (server === undefined) continue;
        expect(each.servers).toContain(server);
        expect(each.clients).toContain(client);
      }
    });
  },
);

describe('CoreDNS', () => {
  const checks = dnsChecks(plan, state);
  const byId = new Map(checks.map((check) => [check.question.id, check]));

  it('gives a pod behind five services five names', () => {
    const id = `dns.ptr.server1.headless.${NAMESPACE}`;
    const names = ['echo-ci-tcp', 'echo-lb-tcp', 'echo-np-tcp', 'echo-server-udp'].map(
      (service) => `10-255-230-192.${service}.${NAMESPACE}`,
    );
    const seen = [...names, `server1.headless.${NAMESPACE}`];
    const verdict = (answers: readonly string[]) =>
      judgeDns(checks, new Map<string, DnsAnswer>([[id, { outcome: 'ok', answers, detail: null }]])).find(
        (check) => check.id === id,
      )?.verdict;
    expect(verdict(seen)).toBe('passed');
    // A service of another namespace may have it as well.
    expect(verdict([...seen, '10-255-230-192.web.shop.svc.cluster.local'])).toBe('passed');
    expect(verdict(names)).toBe('failed');
    // The cached answer of before a service came.
    expect(verdict(seen.slice(1))).toBe('passed');
  });

  it.each([
    [`dns.a.10-255-8-1.echo-ci-tcp.${NAMESPACE}`, ['10.255.8.1']],
    [`dns.srv._tcp._tcp.echo-lb-tcp.${NAMESPACE}`, [`0 100 1234 echo-lb-tcp.${NAMESPACE}`]],
    [`dns.srv._udp._udp.echo-server-udp.${NAMESPACE}`, [`0 100 5678 echo-server-udp.${NAMESPACE}`]],
    ['dns.a.10-255-230-192.echo-server.pod.cluster.local', ['10.255.230.192']],
    [`dns.cname.elsewhere.${NAMESPACE}`, ['example.org']],
  ])('answers %s', (id, answers) => {
    expect([...(byId.get(id)?.wanted.answers ?? [])]).toEqual(answers);
  });

  it('shares out the weight of a headless service by its endpoints', () => {
    const ports = [{ name: 'tcp', port: 1234, protocol: 'tcp' as const }];
    const services = state.services.map((service) =>
      service.name === 'headless'
        ? {
            ...service,
            ports,
            endpoints: service.endpoints.map((each) => ({ ...each, ports: { tcp: 1234 } })),
          }
        : service,
    );
    for (const id of [`dns.srv._tcp._tcp.headless.${NAMESPACE}`, `dns.srv.headless.${NAMESPACE}`]) {
      const srv = dnsChecks(plan, { ...state, services }).find(({ question }) => question.id === id);
      expect([...(srv?.wanted.answers ?? [])].sort()).toEqual(
        ['server1', 'server2', 'server3'].map((name) => `0 33 1234 ${name}.headless.${NAMESPACE}`),
      );
    }
  });

  it("is asked what the lab's own DNS is, except for nodes, and not for pods where it has none of them", () => {
    const own = dnsChecks(bird, state).map(({ question }) => question.name);
    const nodes = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'];
    expect(own).toEqual([...checks.map(({ question }) => question.name), ...nodes]);
    const without = dnsChecks(plan, { ...state, podRecords: false }).map(({ question }) => question.id);
    expect(without.filter((id) => id.includes('.pod.'))).toEqual([]);
  });
});

it("Calico's own objects are read", () => {
  expect(podBlocksOf(parseCalicoObjects(recorded('block-affinities.json')))).toHaveLength(4);
  expect(unsettled(plan, recorded('node-statuses.json'))).toEqual([]);
});

describe("Calico's BIRD and the router", () => {
  it('say their sessions', () => {
    expect(parseProtocols(recorded('k8sworker1-protocols.txt')).map(({ state: is }) => is)).toEqual(
      Array(4).fill('Established'),
    );
    expect(parseProtocols(recorded('k8smaster1-protocols.txt'))).toHaveLength(3);
    expect(parseNeighbors(recorded('bgp-neighbors.json'), []).map(({ neighbor }) => neighbor)).toEqual(
      WORKERS,
    );
  });

  it('say their routes, those of the kernel as the kernel does', () => {
    const table = parseBirdRoutes(recorded('k8sworker1-bird-route.txt'));
    const kernel = parseKernelRoutes(recorded('k8sworker1-route.json'));
    for (const prefix of ['2.2.2.2/32', '5.5.5.5/32', '10.255.8.0/26', '10.255.230.192/26'])
      expect([prefix, table.get(prefix)]).toEqual([prefix, kernel.get(prefix)]);
    expect(parseBirdRoutes(recorded('k8smaster1-bird-route.txt')).get('2.2.2.2/32')).toEqual(WORKERS);
    expect(parseBgpRoutes(recorded('bgp-unicast.json')).get('2.2.2.2/32')).toEqual(WORKERS);
    expect(parseRib(recorded('bgp-rib.json')).installed.get('10.96.0.0/12')).toEqual(WORKERS);
  });
});
