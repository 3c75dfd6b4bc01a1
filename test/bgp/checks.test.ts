import { describe, expect, it } from 'vitest';
import type { Check } from '../../scripts/bgp/checks/check.ts';
import type { Announcement } from '../../scripts/bgp/checks/expected.ts';
import { checkBgp } from '../../scripts/bgp/checks/judge.ts';
import { observeBgp, observeNode } from '../../scripts/bgp/checks/observe.ts';
import type { Executor } from '../../scripts/exec/executor.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { HarnessError, Interrupted } from '../../scripts/shared/errors.ts';
import { planOf } from '../matrix/fixtures.ts';
import { fakeMachine, type Reply, repliesOf } from './fixtures.ts';

const plan = planOf();
const SPEAKERS = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3', 'bgp'];
const EVERYWHERE: Announcement[] = [
  { prefix: '2.2.2.2/32', nodes: ['k8sworker1', 'k8sworker2', 'k8sworker3'] },
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
    // 6 iBGP and 3 eBGP sessions; 6 prefixes in 4 tables and "nothing else" on the router; 6 in 2 tables on 4 nodes.
    expect(checks).toHaveLength(9 + 6 * 4 + 1 + 4 * 6 * 2);
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
  });

  it('asks every machine once', async () => {
    const machines = SPEAKERS.map((name) => machine(name));
    await check(machines);
    expect(machines.map(({ calls }) => calls)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('a worker whose pod is gone', () => {
  const announced = [{ prefix: '2.2.2.2/32', nodes: ['k8sworker1', 'k8sworker2'] }];

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
      expected: '192.168.13.35, 192.168.13.36',
      observed: '192.168.13.35, 192.168.13.36, 192.168.13.37',
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
      observed: 'bgp: Connect, k8sworker2: Down',
    });
    const failed = idsOf(checks, 'failed').filter((id) => id.startsWith('bgp.session.'));
    expect(failed).toEqual(['bgp.session.bgp-k8sworker2']);
    expect(checks.find(({ id }) => id === 'bgp.route.bgp.kernel.10.255.0.128/26')?.observed).toBe('absent');
  });

  it('fails a session with the wrong AS number', async () => {
    const summary = String(repliesOf('bgp')['show bgp summary']).replace(
      '"remoteAs":65001',
      '"remoteAs":65009',
    );
    const checks = await check([machine('bgp', '', { 'show bgp summary': summary })]);
    expect(checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker1')).toMatchObject({
      verdict: 'failed',
      observed: 'bgp: Established with AS 65009 instead of 65001, k8sworker1: Established',
    });
  });

  it('fails a session that one end does not know', async () => {
    const checks = await check([machine('bgp', '', { 'show bgp summary': '{}' })]);
    expect(checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker1')?.observed).toContain(
      'no session configured',
    );
  });
});

describe('the router', () => {
  it('must not hold a prefix that nobody planned', async () => {
    const kernel = JSON.stringify([
      ...JSON.parse(String(repliesOf('bgp')['ip -j'])),
      { dst: '10.255.0.70', gateway: '192.168.13.35', dev: 'eth0' },
      { dst: 'default', gateway: '192.168.13.1', dev: 'eth0' },
    ]);
    const checks = await check([machine('bgp', '', { 'ip -j': kernel })]);
    expect(checks.find(({ id }) => id === 'bgp.route.bgp.nothing-else')).toMatchObject({
      verdict: 'failed',
      observed: '10.255.0.70/32',
    });
  });
});

describe('who failed', () => {
  const bird = { code: 1, stderr: 'Unable to connect to server control socket (/run/bird/bird.ctl)' };

  it('a daemon that is down is the lab', async () => {
    const checks = await check([machine('k8sworker1', '', { 'show protocols': bird, 'show route': bird })]);
    const session = checks.find(({ id }) => id === 'bgp.session.bgp-k8sworker1');
    expect(session).toMatchObject({ verdict: 'failed' });
    expect(session?.observed).toContain('k8sworker1: Unable to connect to server control socket');
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
    expect(rib?.verdict).toBe('harness');
    expect(rib?.observed).toContain('could not be read');
  });

  it('a machine that cannot be reached, or was not given, is the harness', async () => {
    const broken: Executor = {
      where: 'k8sworker2',
      run: () => Promise.reject(new HarnessError('ssh to k8sworker2 failed')),
    };
    const checks = await check([broken]);
    expect(idsOf(checks, 'failed')).toEqual([]);
    const ofWorker2 = checks.filter(({ id }) => id.startsWith('bgp.route.k8sworker2.'));
    expect(
      ofWorker2.every(({ verdict, observed }) => verdict === 'harness' && observed.includes('ssh')),
    ).toBe(true);
    const none = checkBgp(plan, EVERYWHERE, new Map());
    expect(none.every(({ verdict }) => verdict === 'harness')).toBe(true);
  });

  it('an interruption is neither', async () => {
    const interrupted: Executor = { where: 'bgp', run: () => Promise.reject(new Interrupted()) };
    await expect(observeNode(interrupted)).rejects.toThrow(Interrupted);
  });
});
