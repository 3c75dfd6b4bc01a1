import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ensureJoinToken } from '../../scripts/cluster/join-token.ts';
import { caCertHash, kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import { ensurePodBlocks, waitForApi, waitForNodes } from '../../scripts/cluster/nodes.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { type LabEvent, silent } from '../../scripts/shared/events.ts';
import { CA_CERTIFICATE, CA_HASH } from '../fakes/ca.ts';
import { fakeMachine } from '../fakes/machine.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';
import { labPlan, labSecrets, machine } from '../render/fixture.ts';

const plan = labPlan();
const secrets = labSecrets(plan);
const context = { plan, secrets, emit: silent };
const {
  clearWorker,
  ensureControlPlane,
  isJoined,
  join: joinWorker,
  prepareNode,
  readAdminAccess,
} = kubeadmDistribution;

/** A node by what it says to a command; everything else succeeds silently. */
function node(reply: (line: string) => Reply | undefined) {
  const executor = recordingExecutor((argv) => reply(argv.join(' ')) ?? '');
  return { executor, machine: fakeMachine('k8smaster1', executor) };
}

/** A machine on which nothing has happened yet: no node, no kubeadm. */
const fresh = (line: string): Reply | undefined =>
  /^(test -e|pkill|find)/.test(line) ? { exitCode: 1 } : undefined;

const ACCESS = { binary: '/cache/kubectl', kubeconfig: '/lab/kubeconfig' };

const kubectl = (reply: (line: string, input: string) => Reply) => {
  const executor = recordingExecutor((argv, { input }) =>
    reply(argv.slice(7).join(' '), String(input ?? '')),
  );
  return { executor, client: kubectlWith(executor, ACCESS) };
};

describe('kubeadm', () => {
  it('makes a control plane, and leaves no file with the token behind', async () => {
    const events: LabEvent[] = [];
    const { executor, machine: master } = node((line) =>
      line.startsWith('kubeadm init') ? '[certs] Generating "ca"\nother noise\n' : fresh(line),
    );
    expect(await ensureControlPlane(master, { ...context, emit: (event) => events.push(event) })).toBe(true);
    const lines = executor.lines();
    const init = lines.findIndex((line) =>
      line.startsWith('kubeadm init --config /etc/kubernetes/lab-init.yaml'),
    );
    expect(lines.slice(init + 1)).toEqual([
      'rm /etc/kubernetes/lab-init.yaml',
      'touch /etc/kubernetes/lab-done',
    ]);
    expect(master.files.get('/etc/kubernetes/lab-init.yaml')?.mode).toBe(0o600);
    expect(events).toEqual([{ type: 'note', text: '[certs] Generating "ca"' }]);
    expect(lines.join()).not.toContain(secrets.joinToken);
  });

  it('does nothing to a control plane that is done', async () => {
    const { executor, machine: master } = node(() => '');
    expect(await ensureControlPlane(master, context)).toBe(false);
    expect(executor.lines().filter((line) => !line.includes('systemctl'))).toEqual([
      'test -e /etc/kubernetes/lab-done',
    ]);
    expect(await isJoined(master)).toBe(true);
  });

  it('takes a half-made control plane apart first', async () => {
    const { executor, machine: master } = node((line) =>
      line.startsWith('find ') ? '/etc/kubernetes/pki/ca.crt\n' : fresh(line),
    );
    await ensureControlPlane(master, context);
    const lines = executor.lines();
    const reset = lines.findIndex((line) => line.startsWith('flock /run/lab-reset.lock sh -c'));
    expect(lines[reset]).toMatch(/Takes a kubeadm node apart[\s\S]* \/run\/containerd\/containerd\.sock$/);
    expect(lines.findIndex((line) => line.startsWith('kubeadm init'))).toBeGreaterThan(reset);
  });

  it('leaves a fresh machine alone', async () => {
    const { executor, machine: worker } = node(fresh);
    expect(await clearWorker(worker, CA_CERTIFICATE, context)).toBe(true);
    expect(executor.lines().filter((line) => line.includes('reset'))).toEqual([]);
  });

  it('ends a kubeadm that an earlier, killed labup left running, before anything else', async () => {
    const alive = [0, 0, 1];
    const { executor, machine: worker } = node((line) =>
      line.startsWith('pkill') ? { exitCode: alive.shift() ?? 1 } : fresh(line),
    );
    await clearWorker(worker, CA_CERTIFICATE, context);
    expect(executor.lines().slice(0, 3)).toEqual(Array(3).fill('pkill -KILL -x kubeadm'));
  });

  it('is not marked as done where it failed', async () => {
    const { executor, machine: worker } = node((line) =>
      line.startsWith('kubeadm join')
        ? { exitCode: 1, stderr: "couldn't validate the identity" }
        : fresh(line),
    );
    const joining = joinWorker(worker, machine(plan, 'k8sworker1'), CA_CERTIFICATE, context);
    await expect(joining).rejects.toThrow('kubeadm failed on');
    expect(executor.lines().some((line) => line.startsWith('touch'))).toBe(false);
  });

  it("joins with the hash of the cluster's own CA", async () => {
    const { machine: worker } = node(fresh);
    await joinWorker(worker, machine(plan, 'k8sworker1'), CA_CERTIFICATE, context);
    expect(worker.files.get('/etc/kubernetes/lab-join.yaml')?.content).toContain(CA_HASH);
    // As `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum` says.
    expect(caCertHash(CA_CERTIFICATE)).toBe(CA_HASH);
  });

  it.each([
    ['containerd', ['enable --quiet --no-reload kubelet', 'start containerd']],
    ['containerd kubelet', ['start containerd']],
  ])('starts containerd, and kubelet only at reboots, where %s is enabled', async (enabled, done) => {
    const folder = mkdtempSync(join(tmpdir(), 'systemctl-'));
    const log = join(folder, 'log');
    const stub = `#!/bin/sh\ncase "$1 $3" in ${enabled
      .split(' ')
      .map((unit) => `"is-enabled ${unit}") exit 0;;`)
      .join(' ')} is-enabled*) exit 1;; esac\necho "$*" >> ${log}\n`;
    writeFileSync(join(folder, 'systemctl'), stub, { mode: 0o755 });
    const env = { PATH: `${folder}:${process.env.PATH}` };
    const local = localExecutor();
    const worker = fakeMachine('k8sworker1', { ...local, run: (argv) => local.run(argv, { env }) });
    await prepareNode(worker);
    expect(readFileSync(log, 'utf8').trim().split('\n')).toEqual(done);
    rmSync(folder, { recursive: true });
  });

  it('takes a node of another cluster for one that has to join', async () => {
    const { machine: worker } = node((line) => (line.startsWith('cat ') ? CA_CERTIFICATE : ''));
    expect(await isJoined(worker, CA_CERTIFICATE)).toBe(true);
    expect(await isJoined(worker, 'another')).toBe(false);
  });

  it('hands over the access that it made', async () => {
    const { machine: master } = node((line) => `content of ${line.split(' ')[1]}`);
    expect(await readAdminAccess(master)).toEqual({
      kubeconfig: 'content of /etc/kubernetes/admin.conf',
      ca: 'content of /etc/kubernetes/pki/ca.crt',
    });
  });
});

describe('kubectl', () => {
  it("uses the lab's own binary and kubeconfig, and gives up some time", async () => {
    const { executor, client } = kubectl(() => '{"items": []}');
    expect(await client.json(['get', 'nodes'])).toEqual({ items: [] });
    expect(executor.lines()).toEqual([
      '/cache/kubectl --kubeconfig /lab/kubeconfig --cache-dir /lab/kubectl-cache --request-timeout 20s get nodes -o json',
    ]);
    expect(executor.calls[0]?.options.timeoutMs).toBeGreaterThan(0);
  });

  it('reaches the API server by a forward where there is one, and still knows it by its certificate', async () => {
    const executor = recordingExecutor(() => 'ok');
    const via = { port: 40123, serverName: '192.168.13.30' };
    await kubectlWith(executor, { ...ACCESS, via }).run(['get', '--raw', '/readyz']);
    expect(executor.lines()[0]).toBe(
      '/cache/kubectl --kubeconfig /lab/kubeconfig --cache-dir /lab/kubectl-cache ' +
        '--server https://127.0.0.1:40123 --tls-server-name 192.168.13.30 --request-timeout 20s get --raw /readyz',
    );
  });

  it('keeps the token out of its command line', async () => {
    const inputs: string[] = [];
    const { executor, client } = kubectl((line, input) => {
      inputs.push(input);
      return line.startsWith('get configmap') ? '{"data": {"jws-kubeconfig-abcdef": "signed"}}' : '';
    });
    await ensureJoinToken(client, secrets, silent);
    expect(inputs[0]).toContain('0123456789abcdef');
    expect(executor.lines().join()).not.toContain('0123456789abcdef');
  });
});

describe('nodes', () => {
  const nodes = (ready: Readonly<Record<string, boolean>>, podCIDR?: string): Reply =>
    JSON.stringify({
      items: Object.entries(ready).map(([name, is]) => ({
        metadata: { name },
        spec: podCIDR === undefined ? {} : { podCIDR },
        status: { conditions: [{ type: 'Ready', status: is ? 'True' : 'False' }] },
      })),
    });
  const all = (is: boolean) =>
    Object.fromEntries(['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'].map((name) => [name, is]));

  it('get the pod blocks of the plan, once', async () => {
    const applied: unknown[] = [];
    const { client } = kubectl((line, input) => {
      if (line.startsWith('get')) return nodes({ k8sworker1: false, k8sworker3: true, stranger: true });
      applied.push(JSON.parse(input));
      return '';
    });
    expect(await ensurePodBlocks(client, plan)).toBe(true);
    const node = (name: string, block: string) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name },
      spec: { podCIDR: block, podCIDRs: [block] },
    });
    const items = [node('k8sworker1', '10.255.0.64/26'), node('k8sworker3', '10.255.0.192/26')];
    expect(applied).toEqual([{ apiVersion: 'v1', kind: 'List', items }]);
    expect(await ensurePodBlocks(kubectl(() => nodes(all(true), '10.255.0.0/26')).client, plan)).toBe(false);
  });

  it('are waited for until each of the plan is Ready', async () => {
    const answers = [
      nodes({ k8smaster1: true }),
      nodes({ ...all(true), k8sworker2: false }),
      nodes(all(true)),
    ];
    const events: LabEvent[] = [];
    const { client } = kubectl(() => answers.shift() ?? '');
    await waitForNodes(client, plan, (event) => events.push(event));
    expect(events).toEqual([
      {
        type: 'note',
        text: 'waiting for all nodes to be Ready: not yet: k8sworker1, k8sworker2, k8sworker3',
      },
      { type: 'note', text: 'waiting for all nodes to be Ready: not yet: k8sworker2' },
    ]);
  });

  it('are asked only once the API server is ready', async () => {
    const readyz =
      'Error from server (InternalError): an error on the server ("[+]ping ok\\n[-]etcd failed: reason withheld\\n")';
    const answers: Reply[] = [
      { exitCode: 1, stderr: 'connection refused\n' },
      { exitCode: 1, stderr: readyz },
      'ok',
    ];
    const events: LabEvent[] = [];
    await waitForApi(kubectl(() => answers.shift() ?? 'ok').client, (event) => events.push(event));
    expect(events).toEqual([
      { type: 'note', text: 'waiting for the API server to be ready: connection refused' },
      { type: 'note', text: 'waiting for the API server to be ready: not yet: etcd' },
    ]);
  });
});
