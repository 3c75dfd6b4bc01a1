import { describe, expect, it } from 'vitest';
import {
  loadVersions,
  type OnlineFile,
  onlineFacts,
  onlineFiles,
} from '../../../scripts/artifacts/online/versions.ts';

const lock = loadVersions();
const images = (files: readonly OnlineFile[]) =>
  files.flatMap(({ source }) =>
    source.kind === 'image' ? [`${source.image.name}:${source.image.tag}`] : [],
  );
const urls = (files: readonly OnlineFile[]) =>
  files.flatMap(({ source }) => (source.kind === 'download' ? [source.download.url] : []));

describe('the files of a lab', () => {
  it('are, with k3s, k3s, its images, and Calico', () => {
    const files = onlineFiles(lock, { distribution: 'k3s', architecture: 'amd64' });
    expect(files.map(({ role, path }) => `${role} ${path}`)).toEqual([
      'k3s k3s/k3s',
      'image-archive images/k3s.tar.zst',
      'calico-manifest calico/calico-v3-crds.yaml',
      'image-archive images/calico_cni.tar',
      'image-archive images/calico_node.tar',
      'image-archive images/calico_kube-controllers.tar',
    ]);
    expect(onlineFacts(lock, 'k3s').versions.kubernetes).toBe(lock.k3s.version);
  });

  it('are, with kubeadm, everything that kubeadm asks for', () => {
    const files = onlineFiles(lock, { distribution: 'kubeadm', architecture: 'amd64' });
    expect(files.map(({ role }) => role).filter((role) => role !== 'image-archive')).toEqual([
      'kubelet',
      'kubeadm',
      'kubectl',
      'containerd',
      'runc',
      'cni-plugins',
      'crictl',
      'calico-manifest',
    ]);
    expect(images(files)).toEqual(
      expect.arrayContaining([
        'registry.k8s.io/kube-apiserver:v1.36.3',
        'registry.k8s.io/kube-controller-manager:v1.36.3',
        'registry.k8s.io/kube-scheduler:v1.36.3',
        'registry.k8s.io/kube-proxy:v1.36.3',
        'registry.k8s.io/coredns/coredns:v1.14.2',
        'registry.k8s.io/pause:3.10.2',
        'registry.k8s.io/etcd:3.6.8-0',
        'quay.io/calico/node:v3.32.1',
      ]),
    );
    const forWorkers = files.filter(({ nodes }) => nodes.includes('worker'));
    expect(images(files).filter((name) => !images(forWorkers).includes(name))).toEqual([
      'registry.k8s.io/kube-apiserver:v1.36.3',
      'registry.k8s.io/kube-controller-manager:v1.36.3',
      'registry.k8s.io/kube-scheduler:v1.36.3',
      'registry.k8s.io/etcd:3.6.8-0',
    ]);
  });

  it('have paths of their own, and programs are known as such', () => {
    for (const distribution of ['k3s', 'kubeadm'] as const)
      for (const calicoMethod of ['manifest', 'operator'] as const) {
        const files = onlineFiles(lock, { distribution, architecture: 'arm64', calicoMethod });
        expect(new Set(files.map(({ path }) => path)).size).toBe(files.length);
        for (const { role, source } of files)
          if (source.kind === 'download')
            expect(source.download.executable, role).toBe(/^(k3s|kube|runc)/.test(role));
      }
  });

  it('are of one architecture', () => {
    for (const distribution of ['k3s', 'kubeadm'] as const) {
      const files = onlineFiles(lock, { distribution, architecture: 'arm64' });
      expect(urls(files).filter((url) => url.includes('amd64'))).toEqual([]);
      for (const { source } of files)
        if (source.kind === 'image') expect(source.image.architecture).toBe('arm64');
    }
  });

  it("have a kubectl for the host where the lab's own does not run there", () => {
    const kubectl = (distribution: 'k3s' | 'kubeadm', hostPlatform: 'linux/amd64' | 'darwin/arm64') =>
      onlineFiles(lock, { distribution, architecture: 'amd64', hostPlatform })
        .filter(({ role }) => role === 'kubectl')
        .map(({ platform }) => platform);
    expect(kubectl('k3s', 'linux/amd64')).toEqual([]);
    expect(kubectl('k3s', 'darwin/arm64')).toEqual(['darwin/arm64']);
    expect(kubectl('kubeadm', 'linux/amd64')).toEqual(['linux/amd64']);
    expect(kubectl('kubeadm', 'darwin/arm64')).toEqual(['darwin/arm64']);
  });

  it('are the operator and what it starts, where that is chosen', () => {
    const files = onlineFiles(lock, { distribution: 'k3s', architecture: 'amd64', calicoMethod: 'operator' });
    expect(files.map(({ role }) => role)).toEqual(expect.arrayContaining(['calico-crds', 'calico-operator']));
    expect(images(files)).toContain('quay.io/tigera/operator:v1.42.3');
    expect(images(files)).toHaveLength(9);
  });
});
