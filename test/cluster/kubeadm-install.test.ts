import { describe, expect, it } from 'vitest';
import { kubeadmDistribution } from '../../scripts/cluster/kubeadm.ts';
import type { Software } from '../../scripts/plan/software.ts';
import { silent } from '../../scripts/shared/events.ts';
import { CA_CERTIFICATE } from '../fakes/ca.ts';
import { currentPlan, labPlan, labSecrets, machine } from '../render/fixture.ts';
import { CURRENT_CONTAINERD, debianFiles, fakeNode, type NodeOptions, softwareFile } from './nodes.ts';

const plan = labPlan();
const worker = machine(plan, 'k8sworker1');
const { install } = kubeadmDistribution;

/** What kubeadm 1.36 says of itself (cmd/kubeadm/app/constants), with a warning that it may print before. */
const IMAGES = `registry.k8s.io/kube-apiserver:v1.36.2
registry.k8s.io/kube-controller-manager:v1.36.2
registry.k8s.io/kube-scheduler:v1.36.2
registry.k8s.io/kube-proxy:v1.36.2
registry.k8s.io/coredns/coredns:v1.14.3
registry.k8s.io/pause:3.10.1
registry.k8s.io/etcd:3.6.8-0
`;

const software: Software = {
  distribution: 'kubeadm',
  cni: 'calico',
  versions: { kubernetes: 'v1.36.2', calico: 'v3.32.1' },
  files: [
    softwareFile('deb', '/bundle/debs/kubelet_1.36.2-1.1_amd64.deb'),
    softwareFile('deb', '/bundle/debs/kubeadm_1.36.2-1.1_amd64.deb'),
    softwareFile('containerd', '/bundle/containerd-2.2.1-linux-amd64.tar.gz'),
    softwareFile('runc', '/bundle/runc.amd64'),
    softwareFile('crictl', '/bundle/crictl-v1.36.0-linux-amd64.tar.gz'),
    softwareFile('cni-plugins', '/bundle/cni-plugins-linux-amd64-v1.9.0.tgz'),
    softwareFile('image-archive', '/bundle/images/kubernetes.tar.zst'),
    softwareFile('echo-image', '/cache/echo.tar', { inMachineImage: true, nodes: ['worker'] }),
  ],
};

function current(options: NodeOptions = {}) {
  return fakeNode('k8sworker1', {
    containerd: CURRENT_CONTAINERD,
    ...options,
    reply: (line) =>
      options.reply?.(line) ??
      (line.startsWith('kubeadm config images list')
        ? `W1121 a warning: with a colon\n${IMAGES}`
        : line.includes('images list')
          ? IMAGES
          : undefined),
  });
}

describe('kubeadm of the lab image', () => {
  it('has everything in it: one look, and nothing is sent', async () => {
    const { executor, machine: node, given } = fakeNode('k8sworker1', { prebuilt: true });
    expect(await install(node, worker, debianFiles(), silent)).toBe(false);
    expect(executor.calls).toHaveLength(1);
    expect(given()).toEqual([]);
  });

  it('is not asked for on a machine that is no node', async () => {
    const { executor, machine: router } = fakeNode('bgp');
    expect(await install(router, machine(plan, 'bgp'), debianFiles(), silent)).toBe(false);
    expect(executor.calls).toEqual([]);
  });
});

describe('kubeadm of a bundle', () => {
  it('brings programs, packages and images, and nothing the second time', async () => {
    const { executor, machine: node, given } = current({ prebuilt: true });
    expect(await install(node, worker, software, silent)).toBe(true);
    expect(given()).toEqual([
      '/bundle/containerd-2.2.1-linux-amd64.tar.gz',
      '/bundle/runc.amd64',
      '/bundle/crictl-v1.36.0-linux-amd64.tar.gz',
      '/bundle/cni-plugins-linux-amd64-v1.9.0.tgz',
      '/bundle/debs/kubelet_1.36.2-1.1_amd64.deb',
      '/bundle/debs/kubeadm_1.36.2-1.1_amd64.deb',
      '/bundle/images/kubernetes.tar.zst',
      // The machine image has it for Debian's containerd, which is not the one that runs now.
      '/cache/echo.tar',
    ]);
    const lines = executor.lines();
    // Together, since they need each other, and no others that may lie there.
    expect(lines.filter((line) => line.includes('dpkg --install'))).toEqual([
      expect.stringMatching(
        /\/var\/lib\/lab\/debs \.\/kubelet_1\.36\.2-1\.1_amd64\.deb \.\/kubeadm_1\.36\.2-1\.1_amd64\.deb$/,
      ),
    ]);
    expect(lines.filter((line) => line.startsWith('/usr/local/bin/ctr'))).toHaveLength(3);
    executor.calls.length = 0;
    expect(await install(node, worker, software, silent)).toBe(false);
    expect(given()).toEqual([]);
    expect(executor.lines().filter((line) => line.startsWith('systemctl restart'))).toEqual([]);
  });

  it('gives containerd 2 its own configuration, with the pause image that kubeadm names', async () => {
    const { machine: node } = current({ cgroup: 'cgroup2fs' });
    await install(node, worker, software, silent);
    const config = node.files.get('/etc/containerd/config.toml')?.content;
    expect(config).toContain('version = 3\n');
    expect(config).toContain('sandbox = "registry.k8s.io/pause:3.10.1"\n');
    expect(config).toContain('SystemdCgroup = true\n');
    expect(node.files.get('/etc/systemd/system/containerd.service')?.content).toContain(
      'ExecStart=/usr/local/bin/containerd\n',
    );
  });

  it('says which images a node lacks, every time until they are there', async () => {
    const { machine: node } = current({
      reply: (line) => (line.includes('images list --quiet') ? IMAGES.replace(/.*pause.*\n/, '') : undefined),
    });
    for (let time = 0; time < 2; time++)
      await expect(install(node, worker, software, silent)).rejects.toMatchObject({
        exitCode: 2,
        details: ['no archive of the bundle has registry.k8s.io/pause:3.10.1'],
      });
  });

  it('asks of a worker no image that only the control plane runs', async () => {
    const onlyWorker = IMAGES.split('\n').filter((line) => /pause|proxy|coredns/.test(line));
    const reply = (line: string) =>
      line.includes('images list --quiet') ? `${onlyWorker.join('\n')}\n` : undefined;
    expect(await install(current({ reply }).machine, worker, software, silent)).toBe(true);
    const master = install(current({ reply }).machine, machine(plan, 'k8smaster1'), software, silent);
    await expect(master).rejects.toMatchObject({
      details: expect.arrayContaining([expect.stringContaining('etcd')]),
    });
  });

  it('refuses a containerd that kubelet would not speak to', async () => {
    const files = software.files.filter(({ role }) => role !== 'containerd');
    const { machine: node } = fakeNode('k8sworker1');
    await expect(install(node, worker, { ...software, files }, silent)).rejects.toThrow(
      'Kubernetes v1.36.2 needs containerd 2, and k8sworker1 has 1.6.',
    );
  });

  it('says where there is no containerd at all', async () => {
    const files = software.files.filter(({ role }) => role === 'image-archive');
    const { machine: node } = fakeNode('k8sworker1', { containerd: '' });
    await expect(install(node, worker, { ...software, files }, silent)).rejects.toThrow(
      'k8sworker1 has no containerd.',
    );
  });

  it('refuses a containerd that is no release', async () => {
    const files = [softwareFile('containerd', '/bundle/containerd')];
    await expect(install(current().machine, worker, { ...software, files }, silent)).rejects.toThrow(
      '/bundle/containerd is not what a file of role containerd has to be.',
    );
  });
});

describe('an archive that containerd 1.6 cannot unpack', () => {
  const old: Software = {
    ...software,
    versions: { ...software.versions, kubernetes: 'v1.34.1' },
    files: [softwareFile('image-archive', '/bundle/kubernetes.tar.zst')],
  };
  const reply = (exitCode: number) => (line: string) =>
    line.includes('--decompress') ? { exitCode } : /images list/.test(line) ? IMAGES : undefined;

  it('is unpacked on the node', async () => {
    const { executor, machine: node } = fakeNode('k8sworker1', { reply: reply(0) });
    expect(await install(node, worker, old, silent)).toBe(true);
    expect(executor.lines().some((line) => line.endsWith('/var/lib/lab/image zstd ctr'))).toBe(true);
    expect(node.files.get('/etc/containerd/config.toml')?.content).toMatch(
      /^version = 2.*pause:3\.10\.1".*bin_dir = "\/opt\/cni\/bin"/s,
    );
  });

  it('is refused where the node cannot', async () => {
    const { machine: node } = fakeNode('k8sworker1', { reply: reply(69) });
    await expect(install(node, worker, old, silent)).rejects.toMatchObject({
      message: 'k8sworker1 cannot unpack /bundle/kubernetes.tar.zst.',
      details: ['its containerd is 1.6, which cannot do it, and it has no zstd'],
    });
  });
});

describe('current kubeadm', () => {
  const now = currentPlan('kubeadm');
  const secrets = labSecrets(now);
  const fresh = (line: string) => (/^(test -e|pkill|find)/.test(line) ? { exitCode: 1 } : undefined);

  it('makes CoreDNS, and takes the cgroup driver that containerd has', async () => {
    const { executor, machine: master } = fakeNode('k8smaster1', { cgroup: 'cgroup2fs', reply: fresh });
    const context = { plan: now, secrets, emit: silent };
    expect(await kubeadmDistribution.ensureControlPlane(master, context)).toBe(true);
    const init = executor.lines().find((line) => line.startsWith('kubeadm init'));
    expect(init).toContain(' --skip-phases preflight --skip-token-print');
    const config = master.files.get('/etc/kubernetes/lab-init.yaml')?.content;
    expect(config).toContain('cgroupDriver: systemd\n');
    expect(master.files.get('/etc/lab/resolv.conf')?.content).toContain('nameserver 192.168.13.30\n');
  });

  it('is refused between what the lab can write', async () => {
    const wrong = { ...now, kubernetes: { ...now.kubernetes, version: 'v1.28.3' } };
    const { machine: node } = fakeNode('k8sworker1', { reply: fresh });
    await expect(
      kubeadmDistribution.join(node, worker, CA_CERTIFICATE, { plan: wrong, secrets, emit: silent }),
    ).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining('v1.28.3') });
  });
});
