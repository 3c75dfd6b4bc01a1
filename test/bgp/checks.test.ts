import { describe, expect, it } from 'vitest';
import { showProtocols } from '../../scripts/bgp/checks/bird.ts';
import type { Check } from '../../scripts/bgp/checks/check.ts';
import { type Announcement, nodesOf } from '../../scripts/bgp/checks/expected.ts';
import { checkBgp } from '../../scripts/bgp/checks/judge.ts';
import { type BgpObservation, observeBgp, observeNode } from '../../scripts/bgp/checks/observe.ts';
import { endingSessions } from '../../scripts/bgp/checks/sessions.ts';
import type { Executor } from '../../scripts/exec/executor.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { layerChecks } from '../../scripts/matrix/layers.ts';
import { type LabPlan, machinesOf } from '../../scripts/plan/types.ts';
import { HarnessError, Interrupted } from '../../scripts/shared/errors.ts';
import { planOf } from '../matrix/fixtures.ts';
import { calicoPlan, labPlan } from '../render/fixture.ts';
import { fakeMachine, type Reply, repliesOf, transcript } from './fixtures.ts';

const plan = planOf();
const SPEAKERS = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3', 'bgp'];
const CIDR: Announcement = {
  of: 'service-cidr',
  prefix: '10.96.0.0/12',
  nodes: ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'],
};
const EVERYWHERE: Announcement[] = [
  { prefix: '2.2.2.2/32', nodes: ['k8sworker1', 'k8sworker2', 'k8sworker3'] },
  CIDR,
];
const shell = localExecutor();

function machine(name: string, state = '', change: Record<string, Reply> = {}): Executor & { calls: number } {
  return fakeMachine(name, { ...repliesOf(name, state), ...change }, (argv, options) =>
    shell.run(argv, options),
  );
}

async function check(
  machines: readonly Executor[] = [],
  state = '',
  announced: readonly Announcement[] = EVERYWHERE,
): Promise<readonly Check[]> {
  const all = new Map(SPEAKERS.map((name): [string, Executor] => [name, machine(name, state)]));
  for (const each of machines) all.set(each.where, each);
  return checkBgp(plan, announced, await observeBgp(plan, all));
}

function idsOf(checks: readonly Check[], verdict: Check['verdict']): readonly string[] {
  return checks.filter((each) => each.verdict === verdict).map(({ id }) => id);
}

describe('a healthy lab', () => {
  it('passes every check', async () => {
    const checks = await check();
    expect(checks.filter(({ verdict }) => verdict !== 'passed')).toEqual([]);
    // 6 iBGP and 3 eBGP sessions; 6 prefixes in 4 tables of the router, 6 in 2 tables of 4 nodes; nothing else on these 5.
    expect(checks).toHaveLength(9 + 6 * 4 + 4 * 6 * 2 + 5);
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
  });

  it('asks every machine once', async () => {
    const machines = SPEAKERS.map((name) => machine(name));
    await check(machines);
    expect(machines.map(({ calls }) => calls)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('sessions that are about to end', () => {
  const ending = async (seconds: number) => {
    const file = transcript('bird/k8sworker1-protocols.txt').replaceAll('/240', '/9');
    const text = file.replace(/(?<=Mesh_192_168_13_36[\s\S]*?Hold timer: +)\d+/, String(seconds));
    const observed = await observeBgp(
      plan,
      new Map([['k8sworker1', machine('k8sworker1', '', { 'show protocols': text })]]),
    );
    return endingSessions(plan, observed);
  };

  it('have less left than it takes until the next keepalive', async () => {
    expect(await ending(3)).toEqual([
      {
        id: 'bgp.session.k8sworker1-k8sworker2',
        why: 'k8sworker1 waits for a keepalive of k8sworker2, for 3 s at most',
      },
    ]);
  });

  it('are none in a healthy lab', async () => {
    expect(await ending(4)).toEqual([]);
  });
});

describe('a worker whose pod is gone', () => {
  const announced = [{ prefix: '2.2.2.2/32', nodes: ['k8sworker1', 'k8sworker2'] }, CIDR];

  it('is right to announce nothing', async () => {
    const wrong = (await check([], '-w3-without-pod', announced)).filter(
      ({ verdict }) => verdict !== 'passed',
    );
    expect(wrong).toEqual([]);
  });

  it('is wrong to announce it still', async () => {
    const checks = await check([], '', announced);
    expect(idsOf(checks, 'failed')).toEqual(
      [
        ...['bgp', 'rib', 'fib', 'kernel'].map((table) => `bgp.${table}`),
        ...['k8smaster1', 'k8sworker3'].flatMap((node) => [`${node}.bird`, `${node}.kernel`]),
      ].map((where) => `bgp.route.${where}.2.2.2.2/32`),
    );
    expect(checks.find(({ id }) => id === 'bgp.route.bgp.kernel.2.2.2.2/32')).toMatchObject({
      reason: 'wrong-next-hops',
      wanted: { nextHops: ['192.168.13.35', '192.168.13.36'] },
      seen: { nextHops: ['192.168.13.35', '192.168.13.36', '192.168.13.37'] },
    });
  });

  it('is wrong to be missing while its pod is ready', async () => {
    const checks = await check([], '-w3-without-pod');
    expect(idsOf(checks, 'failed')).toContain('bgp.route.bgp.kernel.2.2.2.2/32');
    expect(idsOf(checks, 'failed')).toContain('bgp.route.k8sworker3.kernel.2.2.2.2/32');
  });
});

describe('a session that is down', () => {
  it('fails with both ends named, and so do the routes that need it', async () => {
    const checks = await check([], '-w2-session-down');
    expect(checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker2')).toMatchObject({
      verdict: 'failed',
      reason: 'not-established',
      seen: {
        ends: [
          { machine: 'bgp', state: 'Connect', drops: 1 },
          { machine: 'k8sworker2', state: 'Down' },
        ],
      },
    });
    const failed = idsOf(checks, 'failed').filter((id) => id.startsWith('bgp.session.'));
    expect(failed).toEqual(['bgp.session.bgp-k8sworker2']);
    expect(checks.find(({ id }) => id === 'bgp.route.bgp.kernel.10.255.0.128/26')?.reason).toBe('missing');
  });

  it('fails a session with the wrong AS number', async () => {
    const neighbors = changed('"remoteAs":65001', '"remoteAs":65009');
    const checks = await check([machine('bgp', '', { 'show bgp neighbors': neighbors })]);
    expect(checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker1')).toMatchObject({
      verdict: 'failed',
      reason: 'wrong-as',
      seen: {
        ends: [
          { machine: 'bgp', state: 'Established', asn: 65009, wantedAsn: 65001 },
          { machine: 'k8sworker1', state: 'Established' },
        ],
      },
    });
  });

  it('fails a session that one end does not know', async () => {
    const checks = await check([machine('bgp', '', { 'show bgp neighbors': '{}' })]);
    expect(checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker1')?.reason).toBe('not-configured');
  });
});

/** What the router says of its neighbors, with the first of what is given replaced. */
function changed(from: string, to: string): string {
  const said = String(repliesOf('bgp')['show bgp neighbors']);
  expect(said).toContain(from);
  return said.replace(from, to);
}

describe('what the ends of a session agreed on', () => {
  const session = async (machines: readonly Executor[], id = 'bgp.session.bgp-k8sworker1') =>
    (await check(machines)).find((each) => each.id === id);
  const router = (from: string, to: string) =>
    machine('bgp', '', { 'show bgp neighbors': changed(from, to) });
  const worker = (from: RegExp, to: string) => {
    const said = String(repliesOf('k8sworker1')['show protocols']);
    expect(said).toMatch(from);
    return machine('k8sworker1', '', { 'show protocols': said.replace(from, to) });
  };

  it.each([
    ['hold-time', '"bgpTimerHoldTimeMsecs":9000', '"bgpTimerHoldTimeMsecs":180000'],
    ['password', '"authenticationEnabled":1,', ''],
    ['capabilities', '"4byteAs":"advertisedAndReceived"', '"4byteAs":"advertised"'],
    ['restart-time', '"gracefulRestartRemoteTimerMsecs":10000', '"gracefulRestartRemoteTimerMsecs":120000'],
  ])('is the planned %s', async (reason, from, to) => {
    expect(await session([router(from, to)])).toMatchObject({ verdict: 'failed', reason });
  });

  it("is the hold time of the lab's own BIRDs in the mesh, and Calico's with Calico", async () => {
    const slow = worker(/(?<=Mesh_192_168_13_36[\s\S]*?Hold timer: +\d+\/)9/, '240');
    const id = 'bgp.session.k8sworker1-k8sworker2';
    expect(await session([slow], id)).toMatchObject({
      reason: 'hold-time',
      wanted: { ends: [{ holdSeconds: 9 }, { holdSeconds: 9 }] },
      seen: { ends: [{ agreed: { holdSeconds: 240 } }, { agreed: { holdSeconds: 9 } }] },
    });
  });

  it('is told with how often it ended, which is nothing wrong', async () => {
    const found = await session([router('"connectionsDropped":0', '"connectionsDropped":3')]);
    expect(found).toMatchObject({ verdict: 'passed', seen: { ends: [{ drops: 3 }, {}] } });
  });

  it('are AS paths of the neighbor alone', async () => {
    const table = String(repliesOf('bgp')['show bgp ipv4']).replace(
      '"peerId":"192.168.13.35","path":"65001"',
      '"peerId":"192.168.13.35","path":"65001 65077"',
    );
    expect(await session([machine('bgp', '', { 'show bgp ipv4': table })])).toMatchObject({
      reason: 'as-path',
      wanted: { ends: [{ asPaths: ['65001'] }, { asPaths: ['65000'] }] },
      seen: { ends: [{ agreed: { asPaths: ['65001', '65001 65077'] } }, {}] },
    });
  });

  it('is nothing between machines that nobody planned to peer', async () => {
    const stranger = worker(/Neighbor address: 192\.168\.13\.30/, 'Neighbor address: 192.168.13.40');
    expect(await session([stranger], 'bgp.session.k8sworker1-routed')).toMatchObject({
      reason: 'unplanned',
      verdict: 'failed',
      subject: { protocol: 'ibgp' },
      wanted: { state: 'absent' },
    });
  });
});

describe('a route that nobody planned', () => {
  const kernelWith = (name: string, ...routes: readonly object[]) =>
    machine(name, '', {
      'ip -j': JSON.stringify([...JSON.parse(String(repliesOf(name)['ip -j'])), ...routes]),
    });
  const seenAt = async (name: string, machines: readonly Executor[]) =>
    (await check(machines)).find(({ id }) => id === `bgp.route.${name}.nothing-else`);

  it('is none that leads elsewhere, as the one to an uplink', async () => {
    const uplink = { dst: 'default', gateway: '192.168.13.1', dev: 'eth0' };
    for (const name of ['bgp', 'k8sworker1'])
      expect((await seenAt(name, [kernelWith(name, uplink)]))?.verdict).toBe('passed');
  });

  it('is one within the prefixes of the lab', async () => {
    const pod = { dst: '10.255.0.70', gateway: '192.168.13.35', dev: 'eth0' };
    expect(await seenAt('bgp', [kernelWith('bgp', pod)])).toMatchObject({
      verdict: 'failed',
      reason: 'unwanted',
      seen: { held: [{ prefix: '10.255.0.70/32', tables: ['kernel'], nextHops: ['192.168.13.35'] }] },
    });
  });

  it('is a default route by way of the router, in kernel and BIRD, and the router offers it', async () => {
    const line =
      '0.0.0.0/0          via 192.168.13.39 on eth0 [Node_192_168_13_39 12:00:00] * (100/0) [AS65000i]\n';
    const replies = repliesOf('k8sworker1');
    const worker = machine('k8sworker1', '', {
      'show route': `${replies['show route']}${line}`,
      'ip -j': JSON.stringify([
        ...JSON.parse(String(replies['ip -j'])),
        { dst: 'default', gateway: '192.168.13.39', dev: 'eth0' },
      ]),
    });
    const checks = await check([worker, machine('bgp', '-leak')]);
    const of = (name: string) => checks.find(({ id }) => id === `bgp.route.${name}.nothing-else`);
    expect(of('k8sworker1')?.seen).toEqual({
      held: [{ prefix: '0.0.0.0/0', tables: ['bird', 'kernel'], nextHops: ['192.168.13.39'] }],
      offered: [],
    });
    expect(of('bgp')?.seen).toEqual({
      held: [],
      offered: [
        { prefix: '0.0.0.0/0', to: 'k8sworker1', refusedBy: null },
        { prefix: '0.0.0.0/0', to: 'k8sworker2', refusedBy: 'imp' },
        { prefix: '0.0.0.0/0', to: 'k8sworker3', refusedBy: 'imp' },
      ],
    });
    // One cause: the router.
    expect(layerChecks(plan, checks).checks.find(({ id }) => id === of('k8sworker1')?.id)).toMatchObject({
      verdict: 'blocked',
      blockedBy: 'bgp.route.bgp.nothing-else',
    });
  });

  it("is one that a node offers and the router's filter keeps out", async () => {
    const route = '"receivedRoutes":{\n    "203.0.113.0/24":{}';
    const refusing = machine('bgp', '', { 'show bgp neighbors': changed('"receivedRoutes":{', route) });
    expect((await seenAt('k8sworker1', [refusing]))?.seen).toEqual({
      held: [],
      offered: [{ prefix: '203.0.113.0/24', to: 'bgp', refusedBy: 'K8S-IN' }],
    });
  });
});

describe('twenty workers that announce one address', () => {
  const bird = labPlan(20);
  const addresses = machinesOf(bird, 'worker').map(({ address }) => address);
  const announced = [{ prefix: '2.2.2.2/32', nodes: machinesOf(bird, 'worker').map(({ name }) => name) }];
  /** The check of one table of the control plane, which has these next hops. */
  const judged = (plan: LabPlan, name: string, nextHops: readonly string[]) => {
    const table = { ok: true, value: new Map([['2.2.2.2/32', [...nextHops].sort()]]) } as const;
    const seen: BgpObservation = {
      sessions: { ok: true, value: [] },
      tables: [{ name, table }],
    };
    return checkBgp(plan, announced, new Map([['k8smaster1', seen]])).find(
      ({ id }) => id === `bgp.route.k8smaster1.${name}.2.2.2.2/32`,
    );
  };
  const calico = calicoPlan(bird);
  const sixteen = addresses.slice(2, 18);

  it('are all next hops in the kernel, unless Calico programs it: then any 16 of them', () => {
    expect(judged(bird, 'kernel', addresses)?.verdict).toBe('passed');
    expect(judged(bird, 'kernel', sixteen)?.verdict).toBe('failed');
    const right = judged(calico, 'kernel', sixteen);
    expect(right).toMatchObject({
      verdict: 'passed',
      wanted: { take: 16, nextHops: [...addresses].sort() },
    });
    expect(judged(calico, 'kernel', addresses)?.verdict).toBe('failed');
    expect(judged(calico, 'kernel', addresses.slice(0, 15))?.verdict).toBe('failed');
    expect(judged(calico, 'kernel', [...addresses.slice(0, 15), '192.168.13.254'])?.verdict).toBe('failed');
  });

  it('are all in BIRD, which is what the kernel gets its next hops from', () => {
    expect(judged(calico, 'bird', addresses)?.verdict).toBe('passed');
    expect(judged(calico, 'bird', sixteen)?.verdict).toBe('failed');
  });
});

describe('who failed', () => {
  const bird = { code: 1, stderr: 'Unable to connect to server control socket (/run/bird/bird.ctl)' };

  it('a daemon that is down is the lab', async () => {
    const checks = await check([machine('k8sworker1', '', { 'show protocols': bird, 'show route': bird })]);
    const session = checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker1');
    const problem = expect.stringContaining('Unable to connect to server control socket');
    expect(session).toMatchObject({
      verdict: 'failed',
      reason: 'no-answer',
      seen: { ends: [{}, { machine: 'k8sworker1', problem }] },
    });
    expect(idsOf(checks, 'harness')).toEqual([]);
    expect(checks.find(({ id }) => id === 'bgp.route.k8sworker1.kernel.5.5.5.5/32')?.verdict).toBe('passed');
  });

  it('a missing tool is the harness', async () => {
    const gone = { code: 127, stderr: 'sh: birdc: not found' };
    const checks = await check([machine('k8sworker1', '', { 'show protocols': gone, 'show route': gone })]);
    expect(idsOf(checks, 'failed')).toEqual([]);
    expect(idsOf(checks, 'harness')).toContain('bgp.session.bgp-k8sworker1');
  });

  it('an answer that cannot be read is the harness', async () => {
    const checks = await check([machine('bgp', '', { 'show ip route': 'vtysh: warning\n{' })]);
    expect(idsOf(checks, 'failed')).toEqual([]);
    const rib = checks.find(({ id }) => id === 'bgp.route.bgp.rib.2.2.2.2/32');
    expect(rib).toMatchObject({ verdict: 'harness', reason: 'not-read', seen: null });
    expect(rib?.problem).toContain('could not be read');
  });

  it('a machine that cannot be reached, or was not given, is the harness', async () => {
    const broken: Executor = {
      where: 'k8sworker2',
      run: () => Promise.reject(new HarnessError('ssh to k8sworker2 failed')),
    };
    const checks = await check([broken]);
    expect(idsOf(checks, 'failed')).toEqual([]);
    const ofWorker2 = checks.filter(({ id }) => id.startsWith('bgp.route.k8sworker2.'));
    expect(ofWorker2.every(({ verdict, problem }) => verdict === 'harness' && problem?.includes('ssh'))).toBe(
      true,
    );
    const none = checkBgp(plan, EVERYWHERE, new Map());
    expect(none.every(({ verdict }) => verdict === 'harness')).toBe(true);
  });

  it('an interruption is neither', async () => {
    const interrupted: Executor = { where: 'bgp', run: () => Promise.reject(new Interrupted()) };
    await expect(observeNode(interrupted, 'bird')).rejects.toThrow(Interrupted);
  });
});

describe('a lab with Calico', () => {
  // Recorded with the bird CNI, whose blocks are the plan's; here they are what Calico's IPAM says. The ClusterIP is in
  // no recording, so that a route to it has to be planted.
  const calico = calicoPlan(plan);
  const blocks = nodesOf(plan).map(
    ({ name, podBlock = '' }): Announcement => ({ of: 'pods', prefix: podBlock, nodes: [name] }),
  );
  const checked = async (announced: readonly Announcement[], machines: readonly Executor[] = []) => {
    // With the hold time that BIRD has by itself, as Calico leaves it.
    const all = new Map(
      SPEAKERS.map((name): [string, Executor] => [
        name,
        machine(
          name,
          '',
          name === 'bgp' ? {} : { 'show protocols': transcript(`bird/${name}-protocols.txt`) },
        ),
      ]),
    );
    for (const each of machines) all.set(each.where, each);
    return checkBgp(calico, announced, await observeBgp(calico, all));
  };

  it('passes the same checks', async () => {
    const checks = await checked([...EVERYWHERE, ...blocks]);
    expect(checks.filter(({ verdict }) => verdict !== 'passed')).toEqual([]);
    expect(checks.map(({ id }) => id).sort()).toEqual((await check()).map(({ id }) => id).sort());
  });

  it('may have a node with several blocks and one with none', async () => {
    const [first, ...others] = blocks.filter(({ nodes }) => nodes[0] !== 'k8sworker3');
    const more: Announcement = { of: 'pods', prefix: '10.255.77.64/26', nodes: ['k8sworker1'] };
    const checks = await checked([...EVERYWHERE, ...(first ? [first] : []), ...others, more]);
    const failed = idsOf(checks, 'failed');
    expect(failed).toContain('bgp.route.bgp.kernel.10.255.77.64/26');
    expect(failed).toContain('bgp.route.k8sworker2.bird.10.255.77.64/26');
    // The third worker's block is announced, though IPAM knows nothing of it.
    expect(checks.find(({ id }) => id === 'bgp.route.bgp.nothing-else')?.seen).toMatchObject({
      held: [{ prefix: '10.255.0.192/26', nextHops: ['192.168.13.37'] }],
    });
  });

  it('looks for a single ClusterIP in BIRD, and nowhere else', async () => {
    const clusterIp: Announcement = { of: 'cluster-ip', prefix: '10.96.5.5/32', nodes: ['k8sworker1'] };
    const line = '10.96.5.5/32       via 192.168.13.35 on eth0 [Mesh_192_168_13_35 12:00:00] * (100/0) [i]\n';
    const knowing = machine('k8sworker2', '', {
      'show route': `${repliesOf('k8sworker2')['show route']}${line}`,
    });
    const checks = (await checked([...EVERYWHERE, ...blocks, clusterIp], [knowing])).filter(({ id }) =>
      id.endsWith('10.96.5.5/32'),
    );
    expect(idsOf(checks, 'passed')).toEqual(['bgp.route.k8sworker2.bird.10.96.5.5/32']);
    expect(idsOf(checks, 'failed')).toEqual(
      ['k8smaster1', 'k8sworker1', 'k8sworker3'].map((node) => `bgp.route.${node}.bird.10.96.5.5/32`),
    );
  });

  it('asks BIRD where calico-node runs it', () => {
    const [shellName, flag, script = '', ...rest] = showProtocols('calico');
    expect([shellName, flag, ...rest]).toEqual(['sh', '-c', 'birdcl', 'show', 'protocols', 'all']);
    expect(script).toContain('nsenter --target "$pid" --mount birdcl -s /var/run/calico/bird.ctl "$@"');
  });

  it('says that calico-node is not up where no BIRD runs', async () => {
    const nobody = { ...process.env, PATH: '/nonexistent' };
    const [, , script = ''] = showProtocols('calico');
    const told = await shell.run(['/bin/sh', '-c', `pgrep() { return 1; }\n${script}`, 'birdcl', 'x'], {
      env: nobody as Record<string, string>,
      okCodes: [1],
    });
    expect(told.stderr).toContain('no BIRD runs here: calico-node is not up');
  });
});
