import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { adminAccess, k3sDistribution } from '../../scripts/cluster/k3s.ts';
import { kubectlWith } from '../../scripts/cluster/kubectl.ts';
import type { Software } from '../../scripts/plan/software.ts';
import { agentToken, renderK3sAgent, renderK3sServer } from '../../scripts/render/k3s.ts';
import { silent } from '../../scripts/shared/events.ts';
import { CA_CERTIFICATE } from '../fakes/ca.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { currentPlan, labSecrets, machine } from '../render/fixture.ts';
import { fakeNode, type NodeOptions, softwareFile } from './nodes.ts';

const plan = currentPlan('k3s');
const secrets = labSecrets(plan);
const context = { plan, secrets, emit: silent };
const worker = machine(plan, 'k8sworker1');
const { clearWorker, ensureControlPlane, install, isJoined, join, readAdminAccess } = k3sDistribution;
const SERVER_CA = '/var/lib/rancher/k3s/server/tls/server-ca.crt';
const AGENT_CA = '/var/lib/rancher/k3s/agent/server-ca.crt';
const SERVER_TOKEN = '/etc/rancher/k3s/server-token';

function server(options: NodeOptions = {}) {
  const node = fakeNode('k8smaster1', options);
  const put = (path: string, content: string) => node.machine.files.set(path, { path, content });
  const restarts = () => node.executor.lines().filter((line) => line.startsWith('systemctl restart'));
  const resets = () => node.executor.lines().filter((line) => line.includes('Takes a k3s node apart'));
  return { ...node, put, restarts, resets };
}

describe('a k3s server', () => {
  it('is started once, and runs on where nothing changed', async () => {
    const { executor, machine: master, restarts } = server();
    expect(await ensureControlPlane(master, context)).toBe(true);
    expect(restarts()).toEqual(['systemctl restart --no-block k3s.service']);
    expect(await ensureControlPlane(master, context)).toBe(false);
    expect(restarts()).toHaveLength(1);
    expect(executor.lines().join()).not.toMatch(/not-a-secret/);
  });

  it('has its secrets in files that only root reads', async () => {
    const { machine: master } = server();
    await ensureControlPlane(master, context);
    const open = [...master.files.values()].filter(
      ({ content, mode }) => content.includes('not-a-secret') && mode !== 0o600,
    );
    expect(open).toEqual([]);
    expect(master.files.get(SERVER_TOKEN)?.content).toBe(`${secrets.serverToken}\n`);
    expect(master.files.get('/etc/rancher/k3s/config.yaml')?.content).not.toContain(secrets.serverToken);
  });

  it('of other secrets is taken apart first, before anything is written', async () => {
    const { executor, machine: master, put, resets } = server();
    put(SERVER_CA, CA_CERTIFICATE);
    put(SERVER_TOKEN, 'another lab\n');
    await ensureControlPlane(master, context);
    expect(resets()).toHaveLength(1);
    const lines = executor.lines();
    const stopped = lines.findIndex((line) => line.includes('Takes a k3s node apart'));
    expect(lines.findIndex((line) => line.startsWith('systemctl restart'))).toBeGreaterThan(stopped);
  });

  it('of the same secrets is left as it is, however far it came', async () => {
    const { machine: master, put, resets } = server();
    put(SERVER_CA, CA_CERTIFICATE);
    put(SERVER_TOKEN, `${secrets.serverToken}\n`);
    await ensureControlPlane(master, context);
    expect(resets()).toEqual([]);
  });

  it('that keeps ending says so, with the end of its journal', async () => {
    const { machine: master } = server({
      reply: (line) =>
        line.startsWith('systemctl show')
          ? 'ActiveState=activating\nNRestarts=5\n'
          : line.startsWith('journalctl')
            ? 'level=fatal msg="no such flag"\n'
            : undefined,
    });
    const failure = await ensureControlPlane(master, context).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      message:
        'Stopped waiting for the k3s server to be up on k8smaster1: k3s.service is activating, and was started 6 times.',
      details: ['level=fatal msg="no such flag"'],
      next: 'npx lab exec k8smaster1 -- journalctl --unit k3s.service',
    });
    // Not noted as started: the next labup starts it again.
    expect(master.files.has('/var/lib/lab/applied/k3s.service')).toBe(false);
  });
});

const KUBECONFIG = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${Buffer.from(CA_CERTIFICATE).toString('base64')}
    server: https://127.0.0.1:6443
  name: default
`;

describe('access to a k3s cluster', () => {
  const config = 'advertise-address: 192.168.13.30\n';

  it('goes by the address that the certificate is for, not by loopback', async () => {
    const { machine: master, put } = server();
    put('/etc/rancher/k3s/k3s.yaml', KUBECONFIG);
    put('/etc/rancher/k3s/config.yaml', config);
    put(SERVER_CA, CA_CERTIFICATE);
    const { kubeconfig, ca } = await readAdminAccess(master);
    expect(parse(kubeconfig).clusters[0].cluster.server).toBe('https://192.168.13.30:6443');
    expect(ca).toBe(CA_CERTIFICATE);
  });

  it('is refused where the kubeconfig trusts another CA', () => {
    expect(() => adminAccess('k8smaster1', KUBECONFIG, `${CA_CERTIFICATE}\n`, config)).toThrow(
      'The kubeconfig on k8smaster1 is not of the k3s server',
    );
  });
});

describe('a k3s agent', () => {
  it("gets the agents' token only, with the hash of the CA that its server must have", async () => {
    const { machine: node } = server();
    await join(node, worker, CA_CERTIFICATE, context);
    // As "sha256sum server-ca.crt" says: k3s hashes the file as it is (pkg/clientaccess/token.go).
    const hash = createHash('sha256').update(CA_CERTIFICATE).digest('hex');
    expect(node.files.get('/etc/rancher/k3s/agent-token')?.content).toBe(
      `K10${hash}::node:${secrets.agentToken}\n`,
    );
    const all = [...node.files.values()].map(({ content }) => content).join('\n');
    expect(all).not.toContain(secrets.serverToken);
  });

  it('has joined when its unit says that it is ready, and not before', async () => {
    const states = ['activating', 'activating', 'active'];
    const { executor, machine: node } = server({
      reply: (line) =>
        line.startsWith('systemctl show')
          ? `ActiveState=${states.shift() ?? 'active'}\nNRestarts=0\n`
          : undefined,
    });
    await join(node, worker, CA_CERTIFICATE, context);
    const lines = executor.lines();
    const looks = lines.filter((line) => line.startsWith('systemctl show'));
    expect(looks).toHaveLength(3);
    expect(lines.at(-1)).toBe('touch /var/lib/rancher/k3s/lab-joined');
  });

  it('of another cluster is taken apart, and has not joined this one', async () => {
    const { machine: node, put, resets } = server();
    put(AGENT_CA, 'another');
    expect(await isJoined(node, CA_CERTIFICATE)).toBe(false);
    expect(await clearWorker(node, CA_CERTIFICATE, context)).toBe(true);
    expect(resets()).toHaveLength(1);
  });

  it('of this cluster goes on where it was', async () => {
    const { machine: node, put, resets } = server();
    put(AGENT_CA, CA_CERTIFICATE);
    expect(await isJoined(node, CA_CERTIFICATE)).toBe(true);
    expect(await clearWorker(node, CA_CERTIFICATE, context)).toBe(false);
    expect(resets()).toEqual([]);
  });

  it('needs nothing of the cluster before it joins', async () => {
    const local = recordingExecutor();
    await k3sDistribution.prepareJoin(
      kubectlWith(local, { binary: 'kubectl', kubeconfig: 'kubeconfig' }),
      context,
    );
    expect(local.calls).toEqual([]);
  });

  it('keeps its password when the machine is made anew, each node its own', () => {
    const password = (files: ReturnType<typeof renderK3sAgent>) =>
      files.find(({ path }) => path === '/etc/rancher/node/password');
    const first = password(renderK3sAgent(plan, worker, secrets, CA_CERTIFICATE, 'systemd'));
    const again = password(renderK3sAgent(plan, worker, secrets, CA_CERTIFICATE, 'cgroupfs'));
    expect(first).toEqual(again);
    expect(first?.mode).toBe(0o600);
    expect(password(renderK3sServer(plan, secrets, 'systemd'))?.content).not.toBe(first?.content);
  });
});

describe('the token of k3s', () => {
  it('is of one CA: a chain would be hashed in another way', () => {
    expect(() => agentToken(CA_CERTIFICATE + CA_CERTIFICATE, 'x')).toThrow('one certificate, not 2');
    expect(() => agentToken('', 'x')).toThrow('one certificate, not 0');
  });
});

describe('the control groups of pods', () => {
  const drop = '/etc/systemd/system/k3s.service.d/10-cgroup-v1.conf';

  it('are made by kubelet on cgroup v1, by systemd on v2', async () => {
    for (const [cgroup, isThere] of [
      ['tmpfs', true],
      ['cgroup2fs', false],
    ] as const) {
      const { machine: master } = server({ cgroup });
      await ensureControlPlane(master, context);
      expect(master.files.has(drop)).toBe(isThere);
    }
  });
});

describe('the software of a k3s node', () => {
  const software: Software = {
    distribution: 'k3s',
    cni: 'calico',
    versions: { kubernetes: 'v1.36.2+k3s1', calico: 'v3.32.1' },
    files: [
      softwareFile('k3s', '/bundle/k3s/k3s'),
      softwareFile('image-archive', '/bundle/images/k3s.tar.zst'),
      softwareFile('image-archive', '/bundle/images/servers.tar', { nodes: ['control-plane'] }),
      softwareFile('echo-image', '/cache/echo.tar', { inMachineImage: true, nodes: ['worker'] }),
      softwareFile('kubectl', '/bundle/kubectl'),
    ],
  };

  it('is its program, and every image of its role, also those of the machine image', async () => {
    const { executor, machine: node, given } = server({ prebuilt: true });
    expect(await install(node, worker, software, silent)).toBe(true);
    expect(given()).toEqual(['/bundle/k3s/k3s', '/bundle/images/k3s.tar.zst', '/cache/echo.tar']);
    const names = executor.lines().filter((line) => line.includes('/agent/images/lab-'));
    expect(names.filter((line) => /lab-[0-9a-f]{16}\.tar\.zst 644 /.test(line))).toHaveLength(1);
    expect(await install(node, worker, software, silent)).toBe(false);
    expect(given()).toHaveLength(3);
  });

  it('is one look at a machine whose image has all of it', async () => {
    const { executor, machine: node } = server({ prebuilt: true });
    const whole = { ...software, files: software.files.map((file) => ({ ...file, inMachineImage: true })) };
    expect(await install(node, worker, whole, silent)).toBe(false);
    expect(executor.calls).toHaveLength(1);
  });

  it('is nothing for a machine that is no node', async () => {
    const { executor, machine: router } = server();
    expect(await install(router, machine(plan, 'bgp'), software, silent)).toBe(false);
    expect(executor.calls).toEqual([]);
  });

  it('is sent again where its content is another', async () => {
    const { machine: node, given } = server();
    await install(node, worker, software, silent);
    const [k3s, ...rest] = software.files;
    if (k3s === undefined) throw new Error('no k3s');
    const other = { ...software, files: [{ ...k3s, sha256: 'f'.repeat(64) }, ...rest] };
    expect(await install(node, worker, other, silent)).toBe(true);
    expect(given().slice(3)).toEqual(['/bundle/k3s/k3s']);
  });

  it.each([
    [
      'an archive that k3s does not read',
      { ...software, files: [softwareFile('image-archive', '/bundle/images/k3s.tar.xz')] },
      'would not import /bundle/images/k3s.tar.xz',
    ],
  ])('refuses %s', async (_, wrong, message) => {
    const { machine: node, given } = server();
    await expect(install(node, worker, wrong, silent)).rejects.toThrow(message);
    expect(given()).toEqual([]);
  });
});
