import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { withNodeImage } from '../../scripts/artifacts/node-image.ts';
import { type FileRole, filesOf, type Software, type SoftwareFile } from '../../scripts/plan/software.ts';
import { silent } from '../../scripts/shared/events.ts';
import { dockerArchive } from '../fakes/bundle.ts';
import { type RecordingExecutor, recordingExecutor } from '../fakes/recording-executor.ts';

let folder: string;
/** What node.sh was given: every file below WORK, with its content, mode or target. */
let given: Record<string, string>;
let host: RecordingExecutor;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'node-image-'));
  given = {};
  host = recordingExecutor((argv) => {
    const script = argv.findIndex((word) => word.endsWith('machine/node.sh'));
    const [work = '', out = '', root = ''] = argv.slice(script + 1);
    if (script < 0) return '';
    for (const name of readdirSync(work, { recursive: true, encoding: 'utf8' })) {
      const path = join(work, name);
      if (lstatSync(path).isSymbolicLink()) given[name] = `-> ${basename(readlinkSync(path))}`;
      else if (statSync(path).isFile())
        given[name] = `${(statSync(path).mode & 0o777).toString(8)} ${readFileSync(path)}`;
    }
    writeFileSync(join(out, 'rootfs.squashfs'), `made from ${readFileSync(root)}`);
    return '';
  });
});

function file(
  role: FileRole,
  name: string,
  content: string | Buffer,
  more: Partial<SoftwareFile> = {},
): SoftwareFile {
  const path = join(folder, name);
  writeFileSync(path, content);
  const sha256 = Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
  return {
    role,
    path,
    version: 'v1.36.3',
    sha256,
    nodes: ['control-plane', 'worker'],
    inMachineImage: false,
    ...more,
  };
}

const machine = () => [
  file('machine-metadata', 'metadata.tar', 'base'),
  file('machine-rootfs', 'rootfs.squashfs', 'base'),
];
const kubeadm = (...more: readonly SoftwareFile[]): Software => ({
  distribution: 'kubeadm',
  cni: 'calico',
  versions: { kubernetes: 'v1.36.3', calico: 'v3.32.1' },
  files: [
    file('kubelet', 'kubelet', 'a kubelet'),
    file('containerd', 'containerd.tar.gz', '', { version: 'v2.3.4' }),
    file('image-archive', 'images.tar', dockerArchive(['registry.k8s.io/pause:3.10.2'])),
    file('echo-image', 'echo.tar', '', { nodes: ['worker'] }),
    file('kubectl', 'kubectl', 'a kubectl'),
    ...machine(),
    ...more,
  ],
});
const make = (software: Software, isRoot = true) =>
  withNodeImage(software, { host, emit: silent, cache: join(folder, 'cache'), isRoot });

describe('the machine image of nodes', () => {
  it('has their programs, configuration and images in it', async () => {
    const { software, changed } = await make(kubeadm(file('deb', 'socat_1.deb', '')));
    expect(changed).toBe(true);
    expect(given['files/usr/bin/kubelet']).toBe('755 a kubelet');
    expect(host.lines().find((line) => line.includes('containerd.tar.gz'))).toMatch(/files\/usr\/local$/);
    expect(given['files/etc/containerd/config.toml']).toContain('registry.k8s.io/pause:3.10.2');
    expect(given['files/etc/containerd/config.toml']).toContain('version = 3');
    expect(given['files/etc/systemd/system/containerd.service']).toBeDefined();
    expect(given['debs/socat_1.deb']).toBe('-> socat_1.deb');
    const images = Object.entries(given).filter(([name]) => name.startsWith('images/'));
    expect(images.map(([, target]) => target).sort()).toEqual(['-> echo.tar', '-> images.tar']);
    const lacking = software.files.filter(({ inMachineImage }) => !inMachineImage).map(({ role }) => role);
    expect(lacking).toEqual(['kubectl', 'machine-metadata', 'machine-rootfs']);
    const [rootfs] = filesOf(software, 'machine-rootfs');
    expect(readFileSync(rootfs?.path ?? '', 'utf8')).toBe('made from base');
    expect(readFileSync(join(rootfs?.path ?? '', '..', 'metadata.tar'), 'utf8')).toBe('base');
  });

  it('is made once for their content', async () => {
    const first = await make(kubeadm());
    const calls = host.calls.length;
    expect(await make(kubeadm())).toEqual({ ...first, changed: false });
    expect(host.calls).toHaveLength(calls);
    const other = await make(kubeadm(file('runc', 'runc', '')));
    expect(other.changed).toBe(true);
  });

  it('of k3s has the archives where k3s looks for them', async () => {
    const { software } = await make({
      distribution: 'k3s',
      cni: 'calico',
      versions: { kubernetes: 'v1.36.3+k3s1', calico: 'v3.32.1' },
      files: [file('k3s', 'k3s', 'a k3s'), file('image-archive', 'k3s.tar.zst', 'images'), ...machine()],
    });
    expect(given['files/usr/local/bin/k3s']).toBe('755 a k3s');
    const archives = Object.keys(given).filter((name) => name.includes('/k3s/agent/images/'));
    expect(archives).toEqual([expect.stringMatching(/\/lab-[0-9a-f]{16}\.tar\.zst$/)]);
    expect(Object.keys(given).filter((name) => name.startsWith('images/'))).toEqual([]);
    expect(filesOf(software, 'k3s')[0]?.inMachineImage).toBe(true);
  });

  it.each([
    ['nobody may make it', kubeadm, false],
    ['it has everything', () => whole(kubeadm()), true],
    ['there is none', () => without(kubeadm(), 'machine-rootfs'), true],
    ["Debian's containerd cannot unpack the archives", () => packed(without(kubeadm(), 'containerd')), true],
  ])('stays as it is where %s', async (_, software: () => Software, isRoot) => {
    const as = software();
    expect(await make(as, isRoot)).toEqual({ software: as, changed: false });
    expect(host.calls).toEqual([]);
  });
});

function whole(software: Software): Software {
  return { ...software, files: software.files.map((each) => ({ ...each, inMachineImage: true })) };
}

function without(software: Software, role: FileRole): Software {
  return { ...software, files: software.files.filter((each) => each.role !== role) };
}

function packed(software: Software): Software {
  return { ...software, files: [...software.files, file('image-archive', 'images.tar.gz', '')] };
}
