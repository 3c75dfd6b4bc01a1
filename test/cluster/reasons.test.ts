import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { ensureAssignment } from '../../scripts/bgp/calico/load-balancer.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { journalReasons, nodeReasons, withNodeReasons } from '../../scripts/cluster/node-reasons.ts';
import { isCrashing, type PodList, reasonOf } from '../../scripts/cluster/pods.ts';
import { Interrupted, LabFailure } from '../../scripts/shared/errors.ts';
import { waitForPods } from '../../scripts/workloads/apply.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';
import { calicoPlan, labSecrets } from '../render/fixture.ts';

type Pod = PodList['items'][number];

const waiting = (reason: string, restartCount: number, exitCode: number) => ({
  name: 'main',
  restartCount,
  state: { waiting: { reason, message: 'back-off 40s restarting failed container' } },
  lastState: { terminated: { exitCode, reason: 'Error' } },
});

function pod(name: string, status: Partial<Pod['status']> = {}): Pod {
  return {
    metadata: { name },
    spec: { nodeName: 'k8sworker3' },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }], ...status },
  };
}

const crashing = (name: string, restarts = 4) =>
  pod(name, { containerStatuses: [waiting('CrashLoopBackOff', restarts, 1)] });

function cluster(
  pods: (selector: string) => readonly Pod[],
  more: (line: string) => Reply | undefined = () => '',
) {
  const executor = recordingExecutor((argv) => {
    const line = argv.slice(argv.indexOf('--request-timeout') + 2).join(' ');
    if (line.startsWith('get pods')) return JSON.stringify({ items: pods(line) });
    if (line.startsWith('get events'))
      return JSON.stringify({ items: [{ reason: 'BackOff', message: 'Back-off restarting' }] });
    if (line.startsWith('logs')) return 'dial tcp 10.96.0.1:443: connect: no route to host\n';
    return more(line);
  });
  return { executor, kubectl: kubectlWith(executor, { binary: 'kubectl', kubeconfig: 'k' }) };
}

describe('a pod', () => {
  it('that ends again and again says how', () => {
    expect(reasonOf(crashing('a'))).toBe(
      'CrashLoopBackOff, container main ended with exit code 1 (Error), started again 4 times',
    );
    expect([2, 3].map((restarts) => isCrashing(crashing('a', restarts)))).toEqual([false, true]);
  });

  it('that waits for its image says that', () => {
    const container = {
      name: 'main',
      state: { waiting: { reason: 'ErrImageNeverPull', message: 'not present' } },
    };
    expect(reasonOf(pod('a', { containerStatuses: [container] }))).toBe('not present');
  });

  it.each(['Pending', 'Running'])('of which nothing else is known says its phase: %s', (phase) => {
    expect(reasonOf(pod('a', { phase }))).toBe(phase);
  });

  it('of the real lab is in no trouble', () => {
    const text = readFileSync(new URL('../transcripts/calico/objects.json', import.meta.url), 'utf8');
    const { items } = JSON.parse(text) as { items: (Pod & { kind: string })[] };
    const pods = items.filter(({ kind }) => kind === 'Pod');
    expect(pods.map((each) => [reasonOf(each), isCrashing(each)])).toEqual(Array(4).fill(['Running', false]));
  });
});

describe('waiting for pods', () => {
  it('ends where one of them crashes, with its event and its log', async () => {
    const { kubectl, executor } = cluster(() => [crashing('coredns-1')]);
    const set = { selector: 'k8s-app=kube-dns', count: 1 };
    const failure = waitForPods(kubectl, 'kube-system', set, new Map(), () => {});
    await expect(failure).rejects.toMatchObject({
      message: expect.stringMatching(/^Stopped waiting for .* coredns-1 CrashLoopBackOff, .* exit code 1/),
      details: [
        'event of coredns-1: BackOff: Back-off restarting',
        'log of coredns-1, container main:',
        'dial tcp 10.96.0.1:443: connect: no route to host',
      ],
    });
    expect(executor.lines().at(-1)).toContain('logs -n kube-system coredns-1 -c main --tail 5 --previous');
  });

  it('goes on where one was started again only twice', async () => {
    const answers = [[crashing('coredns-1', 2)]];
    const ready = pod('coredns-1', { conditions: [{ type: 'Ready', status: 'True' }] });
    const { kubectl } = cluster(() => answers.shift() ?? [ready]);
    const set = { selector: 'k8s-app=kube-dns', count: 1 };
    await waitForPods(kubectl, 'kube-system', set, new Map(), () => {});
  });
});

describe("waiting for Calico's kube-controllers", () => {
  const plan = calicoPlan();
  const context = { plan, secrets: labSecrets(plan), emit: () => {} };
  const installed = { api: 'projectcalico.org/v3', namespace: 'kube-system' } as const;
  const notFound = { exitCode: 1, stderr: '(NotFound)' };

  it('ends with their own words where they crash and calico-node runs', async () => {
    const { kubectl } = cluster(
      (line) => (line.includes('calico-kube-controllers') ? [crashing('controllers-1')] : []),
      () => notFound,
    );
    await expect(ensureAssignment(kubectl, installed, context)).rejects.toMatchObject({
      message: expect.stringContaining(
        'calico-kube-controllers on k8sworker3 is not Ready: CrashLoopBackOff',
      ),
      details: expect.arrayContaining(['dial tcp 10.96.0.1:443: connect: no route to host']),
    });
  });

  it('goes on while calico-node is not Ready, which cures them', async () => {
    const stop = new AbortController();
    const { kubectl } = cluster(
      (line) => (line.includes('calico-kube-controllers') ? [crashing('controllers-1')] : [pod('node-1')]),
      () => notFound,
    );
    const said = ensureAssignment(kubectl, installed, {
      ...context,
      emit: () => stop.abort(),
      signal: stop.signal,
    });
    await expect(said).rejects.toBeInstanceOf(Interrupted);
  });
});

describe('a node whose Kubernetes does not come up', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'pods-'));
  });
  const log = (path: string, ...lines: string[]) => {
    const file = join(root, path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, lines.map((line) => `2026-11-26T06:00:00.1Z stderr F ${line}\n`).join(''));
  };
  const node = () =>
    fakeMachine(
      'k8smaster1',
      recordingExecutor((argv) => {
        if (argv[0] === 'journalctl') return 'modprobe: no modules\nkubelet: node not found\n';
        if (argv[0] !== 'sh') return { exitCode: 1, stderr: 'context deadline exceeded' };
        const [program = '', ...args] = [...argv.slice(0, -1), root];
        return execFileSync(program, args, { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } });
      }),
    );

  it('says what its containers said last, those that were started again', async () => {
    log(
      'kube-system_kube-apiserver-k8smaster1_1/kube-apiserver/9.log',
      'first',
      'error: unknown flag: --wrong',
    );
    log('kube-system_kube-apiserver-k8smaster1_1/kube-apiserver/10.log');
    log('kube-system_etcd-k8smaster1_2/etcd/0.log', 'serving');
    expect(await nodeReasons(node())).toEqual([
      'container kube-apiserver was started again 10 times, and said last:',
      'first',
      'error: unknown flag: --wrong',
      'kubelet: node not found',
    ]);
  });

  it('adds that to what kubeadm says', async () => {
    log('kube-system_etcd-k8smaster1_2/etcd/1.log', 'no space left on device');
    const machine = node();
    const failure = withNodeReasons(machine, machine.run(['kubeadm', 'init']));
    await expect(failure).rejects.toBeInstanceOf(LabFailure);
    await expect(failure).rejects.toMatchObject({
      message: 'kubeadm failed on this host (exit code 1).',
      details: expect.arrayContaining(['context deadline exceeded', 'no space left on device']),
    });
  });

  /** As `journalctl --output cat` prints it, from its beginning to this line. */
  const journal = (name: string, until: string) => {
    const file = new URL(`../transcripts/calico/${name}-journal.txt`, import.meta.url);
    const lines = readFileSync(file, 'utf8').split('\n');
    const end = lines.findIndex((line) => line.includes(until));
    return lines
      .slice(0, end + 1)
      .map((line) => line.replace(/^(\S+ ){4}[^:]+: /, ''))
      .join('\n');
  };

  it.each([
    ['k8smaster1', '06:27:37.417089', 'Failed to ensure process in container with oom score'],
    ['k8smaster1', '06:20:30.897358', 'failed to setup network for sandbox'],
    ['k8sworker1', '06:20:40.506875', 'node \\"k8sworker1\\" not found'],
    ['k8sworker1', '06:20:21Z" level=info msg="Getting list', 'Failed to set sysctl: open /proc'],
  ])('a real k3s says what is wrong in %s at %s, each once: %s', (name, until, says) => {
    const told = journalReasons(journal(name, until));
    expect(told.join('\n')).toContain(says);
    expect(told.length).toBeLessThanOrEqual(12);
    expect(new Set(told).size).toBe(told.length);
    expect(told.filter((line) => /^I\d{4}|level=info|^time=/.test(line))).toEqual([]);
  });

  it('says the end of a journal in which nothing is wrong', () => {
    expect(journalReasons('I1126 06:20:40.1     261 server.go:1] "Starting"\n')).toEqual([
      'server.go:1] "Starting"',
    ]);
  });

  it('is not asked where labup was interrupted', async () => {
    const stopped = withNodeReasons(node(), Promise.reject(new Interrupted()));
    await expect(stopped).rejects.toBeInstanceOf(Interrupted);
  });
});
