/** Which container images a bundle must hold, and that each one that it lacks is named. */
import { appendFileSync, mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { fullImageName, readImageArchive } from '../../scripts/artifacts/bundle/archive.ts';
import { readBundle } from '../../scripts/artifacts/bundle/bundle.ts';
import { bundleProblems } from '../../scripts/artifacts/bundle/check.ts';
import { debianArchitecture } from '../../scripts/artifacts/debian.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { packageRoot } from '../../scripts/shared/files.ts';
import { ECHO_IMAGE } from '../../scripts/shared/versions.ts';
import {
  CALICO_MANIFEST,
  dockerArchive,
  K3S_FILES,
  ociArchive,
  type TestFile,
  tarOf,
  workload,
  writeBundle,
} from '../fakes/bundle.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bundle images '));
});

const OTHER = debianArchitecture() === 'amd64' ? 'arm64' : 'amd64';
/** A pretended architecture, of whose programs this host can run none. */
const FOREIGN = { architecture: OTHER };

describe('an archive of container images', () => {
  const read = (content: Buffer) => {
    const path = join(folder, 'images.tar');
    writeFileSync(path, content);
    return readImageArchive(path);
  };
  const pause = { name: 'registry.k8s.io/pause:3.10.2', architectures: ['arm64'] };

  it('is read by the manifest of docker save, plain and as gzip', async () => {
    const archive = dockerArchive([pause.name, 'busybox'], 'arm64');
    const images = [pause, { name: 'docker.io/library/busybox:latest', architectures: ['arm64'] }];
    expect(await read(archive)).toEqual(images);
    expect(await read(gzipSync(archive))).toEqual(images);
  });

  it('is read as zstd with a long window, as k3s packs it', async () => {
    expect(await readImageArchive(join(packageRoot, 'test/transcripts/archives/pause.tar.zst'))).toEqual([
      { name: 'docker.io/rancher/mirrored-pause:3.10.2', architectures: ['amd64'] },
    ]);
  });

  it.each([
    [{ 'io.containerd.image.name': pause.name, 'org.opencontainers.image.ref.name': '3.10.2' }],
    [{ 'org.opencontainers.image.ref.name': pause.name }],
  ])('is read by the index of an OCI layout with %j', async (annotations) => {
    expect(await read(ociArchive(annotations, ['arm64'], ['amd64']))).toEqual([pause]);
  });

  it('has no image where none has a whole name', async () => {
    expect(await read(ociArchive({ 'org.opencontainers.image.ref.name': '3.10.2' }, ['arm64']))).toEqual([]);
  });

  it.each([
    ['no tar file', Buffer.from('images'), 'TAR_BAD_ARCHIVE'],
    ['an empty file', Buffer.alloc(0), 'TAR_BAD_ARCHIVE'],
    ['a tar file of something else', tarOf({ 'usr/bin/true': '' }), 'neither manifest.json nor index.json'],
    [
      'a manifest without its configuration',
      tarOf({ 'manifest.json': '[{"Config":"c"}]' }),
      'c in it is missing',
    ],
    [
      'the first part of a gzip file',
      gzipSync(dockerArchive(['a'])).subarray(0, 90),
      'unexpected end of file',
    ],
    ['the first part of a tar file', dockerArchive(['a']).subarray(0, 700), 'Truncated'],
  ])('is refused where it is %s', async (_, content, says) => {
    await expect(read(content)).rejects.toThrow(says);
  });

  it('names images as containerd does', () => {
    const names = ['pause', 'rancher/pause:3', 'localhost/pause', 'r:5000/pause', 'quay.io/a/b:1'];
    expect(names.map(fullImageName)).toEqual([
      'docker.io/library/pause:latest',
      'docker.io/rancher/pause:3',
      'localhost/pause:latest',
      'r:5000/pause:latest',
      'quay.io/a/b:1',
    ]);
  });
});

/** The bundle's images of these names, each in an archive of its own. */
const archives = (names: readonly string[], architecture = debianArchitecture()): TestFile[] =>
  names.map((name) => ({
    path: `images/${name.replaceAll(/[/:]/g, '_')}.tar`,
    role: 'image-archive',
    content: dockerArchive([name], architecture),
  }));

const CALICO = ['node', 'cni', 'kube-controllers'].map((name) => `quay.io/calico/${name}:v3.32.1`);
const KUBERNETES = [
  ...['apiserver', 'controller-manager', 'scheduler', 'proxy'].map(
    (name) => `registry.k8s.io/kube-${name}:v1.36.3`,
  ),
  'registry.k8s.io/coredns/coredns:v1.14.2',
  'registry.k8s.io/pause:3.10.2',
  'registry.k8s.io/etcd:3.6.8-0',
];
const plain = (...roles: readonly TestFile['role'][]): TestFile[] =>
  roles.map((role) => ({ path: role, role, content: role }));
/** A stand-in for kubeadm, which prints a list only when it is asked as it must be without a network. */
const kubeadm = (...images: readonly string[]): TestFile => ({
  path: 'bin/kubeadm',
  role: 'kubeadm',
  content: `#!/bin/sh
[ "$1 $2 $3 $4" = "config images list --kubernetes-version" ] || exit 9
echo "W1126 no default routes found" >&2
printf '%s\\n' ${images.join(' ')}
`,
});
const PROGRAMS = plain('kubelet', 'kubectl', 'containerd', 'runc', 'cni-plugins');
const KUBEADM: readonly TestFile[] = [
  ...PROGRAMS,
  kubeadm(...KUBERNETES),
  { path: 'calico.yaml', role: 'calico-manifest', content: CALICO_MANIFEST },
  ...archives([...KUBERNETES, ...CALICO]),
];
const ABOUT_KUBEADM = { distribution: 'kubeadm', versions: { kubernetes: 'v1.36.3', calico: 'v3.32.1' } };

const problemsOf = (files: readonly TestFile[], about: object = {}): Promise<readonly string[]> => {
  writeBundle(folder, files, about as Record<string, unknown>);
  const options = { local: localExecutor(), cache: `${folder}.cache`, fromNote: false };
  return bundleProblems(readBundle(folder), options);
};
const without = (files: readonly TestFile[], ...named: readonly string[]) =>
  files.filter(({ path, role }) => !named.some((name) => role === name || path.includes(name)));
const absent = (...names: readonly string[]) =>
  names.map((name) => `container image ${name}: in no image archive`);

describe('a bundle of k3s with Calico', () => {
  it('is whole with what the release runs and what the manifest names', async () => {
    expect(await problemsOf(K3S_FILES)).toEqual([]);
  });

  it('names the images of k3s that are missing, with the tags of the release', async () => {
    expect(await problemsOf(without(K3S_FILES, 'k3s-images'))).toEqual(
      absent('docker.io/rancher/mirrored-pause:3.10.2', 'docker.io/rancher/mirrored-coredns-coredns:1.14.6'),
    );
    const old = archives(['rancher/mirrored-pause:3.6', 'rancher/mirrored-coredns-coredns:1.14.6']);
    expect(await problemsOf([...without(K3S_FILES, 'k3s-images'), ...old])).toEqual([
      'container image docker.io/rancher/mirrored-pause:3.10.2: in no image archive; images/rancher_mirrored-pause_3.6.tar has 3.6',
    ]);
  });

  it('of another release takes any tag, and names what has none', async () => {
    const about = { versions: { kubernetes: 'v1.37.0+k3s1', calico: 'v3.32.1' } };
    const others = archives(['rancher/mirrored-pause:3.11', 'rancher/mirrored-coredns-coredns:1.15.0']);
    const files = [...without(K3S_FILES, 'k3s-images'), ...others];
    expect(await problemsOf(files, about)).toEqual([]);
    expect(await problemsOf(without(files, 'pause'), about)).toContainEqual(
      'container image docker.io/rancher/mirrored-pause: in no image archive',
    );
  });

  it('names each missing image of Calico, and not those that the lab leaves out', async () => {
    expect(await problemsOf(without(K3S_FILES, 'calico.tar'))).toEqual(
      absent(CALICO[1] ?? '', CALICO[0] ?? '', CALICO[2] ?? ''),
    );
  });

  it('names images of another architecture', async () => {
    const foreign = archives(CALICO, OTHER);
    expect(await problemsOf([...without(K3S_FILES, 'calico.tar'), ...foreign])).toContainEqual(
      `container image quay.io/calico/node:v3.32.1: images/quay.io_calico_node_v3.32.1.tar has it for ${OTHER}; this bundle is for ${debianArchitecture()}`,
    );
  });

  it('names the nodes that would not get an image', async () => {
    const files = K3S_FILES.map((file) =>
      file.path === 'calico.tar' ? { ...file, nodes: ['worker'] } : file,
    );
    expect(await problemsOf(files)).toContainEqual(
      'container image quay.io/calico/cni:v3.32.1: not for control-plane nodes; calico.tar is for nodes: [worker]',
    );
  });

  it('has the echo image where it says so', async () => {
    const echo = { path: 'echo.tar', role: 'echo-image' as const };
    expect(await problemsOf([...K3S_FILES, { ...echo, content: dockerArchive(['a/b']) }])).toEqual(
      absent(ECHO_IMAGE),
    );
    expect(await problemsOf([...K3S_FILES, { ...echo, content: dockerArchive([ECHO_IMAGE]) }])).toEqual([]);
  });

  it('names an archive that cannot be read, and one that was altered', async () => {
    writeBundle(folder, [...K3S_FILES, { path: 'x.tar', role: 'image-archive', content: 'images' }]);
    const options = { local: localExecutor(), cache: `${folder}.cache`, fromNote: false };
    expect(await bundleProblems(readBundle(folder), options)).toEqual([
      'x.tar: is not what role image-archive says: TAR_BAD_ARCHIVE: Unrecognized archive format',
    ]);
    truncateSync(join(folder, 'calico.tar'), 512);
    appendFileSync(join(folder, 'k3s'), ' ');
    expect(await bundleProblems(readBundle(folder), options)).toEqual([
      expect.stringMatching(/^k3s: altered/),
      expect.stringMatching(/^calico\.tar: altered/),
      expect.stringMatching(/^x\.tar: is not/),
      ...absent(CALICO[1] ?? '', CALICO[0] ?? '', CALICO[2] ?? ''),
    ]);
  });
});

describe('a bundle of kubeadm with Calico', () => {
  it('is whole with what its own kubeadm lists', async () => {
    expect(await problemsOf(KUBEADM, ABOUT_KUBEADM)).toEqual([]);
  });

  it.each(KUBERNETES)('names %s where its kubeadm lists it', async (name) => {
    expect(await problemsOf(without(KUBEADM, name.replaceAll(/[/:]/g, '_')), ABOUT_KUBEADM)).toEqual(
      absent(name),
    );
  });

  it('believes its kubeadm and not the pins', async () => {
    const files = [...without(KUBEADM, 'kubeadm'), kubeadm(...KUBERNETES, 'registry.k8s.io/new:1')];
    expect(await problemsOf(files, ABOUT_KUBEADM)).toEqual(absent('registry.k8s.io/new:1'));
  });

  it('says of a kubeadm that fails what it said', async () => {
    const broken = {
      path: 'bin/kubeadm',
      role: 'kubeadm' as const,
      content: '#!/bin/sh\necho no >&2; exit 3\n',
    };
    expect(await problemsOf([...without(KUBEADM, 'kubeadm'), broken], ABOUT_KUBEADM)).toEqual([
      expect.stringMatching(/^bin\/kubeadm: is not what role kubeadm says: .*exit code 3.*no$/),
    ]);
  });

  it.each([
    ['kubelet', 'kubelet and kubeadm: no file with role kubelet and kubeadm, or deb'],
    ['kubectl', 'kubectl, for the host that runs labup: no file with role kubectl'],
    ['containerd', 'containerd 2: no file with role containerd'],
    ['runc', 'runc, of the age of containerd 2: no file with role runc'],
    ['cni-plugins', 'the CNI plugins: no file with role cni-plugins, or deb'],
  ])('names a missing %s', async (role, complaint) => {
    expect(await problemsOf(without(KUBEADM, role), ABOUT_KUBEADM)).toEqual([complaint]);
  });

  it('needs no containerd of its own before Kubernetes 1.36', async () => {
    const older = (name: string) => name.replace('v1.36.3', 'v1.35.4');
    const files = [
      ...without(KUBEADM, 'containerd', 'runc', 'cni-plugins', 'kubeadm', 'image-archive'),
      kubeadm(...KUBERNETES.map(older)),
      ...archives([...KUBERNETES.map(older), ...CALICO]),
    ];
    const versions = { kubernetes: 'v1.35.4', calico: 'v3.32.1' };
    expect(await problemsOf(files, { ...ABOUT_KUBEADM, versions })).toEqual([]);
  });

  it('whose kubeadm cannot run here is judged by the pins, and for another release by names', async () => {
    const broken = { path: 'bin/kubeadm', role: 'kubeadm' as const, content: 'another architecture' };
    const without2 = (name: string) => [
      ...without(KUBEADM, 'kubeadm', 'image-archive'),
      broken,
      ...archives([...KUBERNETES.filter((each) => !each.includes(name)), ...CALICO], OTHER),
    ];
    expect(await problemsOf(without2('etcd'), { ...ABOUT_KUBEADM, ...FOREIGN })).toEqual(
      absent('registry.k8s.io/etcd:3.6.8-0'),
    );
    const versions = { kubernetes: 'v1.36.9', calico: 'v3.32.1' };
    expect(await problemsOf(without2('etcd'), { ...ABOUT_KUBEADM, ...FOREIGN, versions })).toEqual([
      ...['apiserver', 'controller-manager', 'scheduler', 'proxy'].map(
        (name) =>
          `container image registry.k8s.io/kube-${name}:v1.36.9: in no image archive; images/registry.k8s.io_kube-${name}_v1.36.3.tar has v1.36.3`,
      ),
      ...absent('registry.k8s.io/etcd'),
    ]);
  });
});

describe("a bundle with Calico's operator", () => {
  const OPERATOR = 'quay.io/tigera/operator:v1.42.3';
  const STARTED = [
    ...['cni', 'node', 'kube-controllers', 'typha', 'csi', 'node-driver-registrar', 'pod2daemon-flexvol'],
    'webhooks',
  ].map((name) => `quay.io/calico/${name}:v3.32.1`);
  const files: readonly TestFile[] = [
    ...without(K3S_FILES, 'calico'),
    { path: 'crds.yaml', role: 'calico-crds', content: '' },
    {
      path: 'operator.yaml',
      role: 'calico-operator',
      content: workload('Deployment', 'tigera-operator', [], [OPERATOR]),
    },
  ];

  it('names all nine, and each by itself', async () => {
    expect(await problemsOf(files)).toEqual(absent(OPERATOR, ...STARTED));
    expect(await problemsOf([...files, ...archives([OPERATOR, ...STARTED])])).toEqual([]);
  });
});

describe("a bundle of Debian's Kubernetes", () => {
  const REPOSITORY = 'registry.lab.internal/k8s';
  const own = [
    ...['apiserver', 'controller-manager', 'scheduler', 'proxy'].map(
      (name) => `${REPOSITORY}/kube-${name}:v1.20.2`,
    ),
    `${REPOSITORY}/pause:3.2`,
    `${REPOSITORY}/etcd:3.4.23`,
    'registry.lab.internal/lab/cluster-dns:1',
  ];
  const files = [
    ...plain('kubelet', 'kubectl'),
    // What kubeadm 1.20.2 says: the etcd of its release, and CoreDNS.
    kubeadm(...own.slice(0, 5), `${REPOSITORY}/etcd:3.4.13-0`, `${REPOSITORY}/coredns:1.7.0`),
  ];
  const about = { distribution: 'kubeadm', cni: 'bird', versions: { kubernetes: 'v1.20.2' } };

  it("needs the lab's own images: Debian's etcd, and its DNS server in place of CoreDNS", async () => {
    expect(await problemsOf([...files, ...archives(own)], about)).toEqual([]);
    expect(await problemsOf([...files, ...archives(own.slice(0, 5))], about)).toEqual(
      absent(`${REPOSITORY}/etcd:3.4.23`, 'registry.lab.internal/lab/cluster-dns:1'),
    );
  });
});
