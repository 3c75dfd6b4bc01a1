import { constants, existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type FileRole, filesOf, placeOf, type Software, type SoftwareFile } from '../plan/software.ts';
import { K3S_IMAGES, k3sArchive } from '../render/k3s.ts';
import { kubeadmApi } from '../render/kubeadm.ts';
import { IMAGE_RUNTIME, renderRuntimeFiles } from '../render/runtime.ts';
import { readImageArchive } from './bundle/archive.ts';
import { machineFiles } from './debian-software.ts';
import { type EnsureOptions, ensureFolders } from './ensure.ts';
import type { BuildContext, Recipe } from './recipe.ts';

const PROGRAMS: readonly FileRole[] = [
  'k3s',
  'containerd',
  'runc',
  'crictl',
  'cni-plugins',
  'kubelet',
  'kubeadm',
];
const IMAGES: readonly FileRole[] = ['image-archive', 'echo-image'];

/**
 * The software with a machine image that has all of its nodes' files in it, container images unpacked: made once for their
 * content. As it was where the image has everything already, and where only the nodes themselves can install it.
 */
export async function withNodeImage(
  software: Software,
  { isRoot = process.getuid?.() === 0, ...options }: EnsureOptions & { readonly isRoot?: boolean },
): Promise<{ readonly software: Software; readonly changed: boolean }> {
  const own = filesOf(software, ...PROGRAMS, 'deb', ...IMAGES);
  const [metadata] = filesOf(software, 'machine-metadata');
  const [rootfs] = filesOf(software, 'machine-rootfs');
  const isWhole = own.every(({ inMachineImage }) => inMachineImage);
  if (isWhole || metadata === undefined || rootfs === undefined || !isRoot || !canBuild(software, own))
    return { software, changed: false };
  const recipe = nodeRecipe(software, own, { metadata, rootfs });
  const { folderOf, changed } = await ensureFolders({ ...options, all: [recipe] });
  const others = software.files.filter((file) => file !== metadata && file !== rootfs);
  const files = others.map((file) => (own.includes(file) ? { ...file, inMachineImage: true } : file));
  return {
    software: { ...software, files: [...files, ...(await machineFiles(folderOf(recipe.id).folder))] },
    changed,
  };
}

/** Whether it can be done: with a containerd that unpacks archives itself (1.7), or archives that are not packed. */
function canBuild({ distribution, versions }: Software, own: readonly SoftwareFile[]): boolean {
  const isK3s = distribution === 'k3s';
  const isOld = !isK3s && kubeadmApi(versions.kubernetes) === 'v1beta2';
  const isPlain = own.every(({ role, path }) => !IMAGES.includes(role) || path.endsWith('.tar'));
  return !isOld && (isK3s || isPlain || containerdMajor(own) > 1);
}

/** Of the containerd that comes as a release or as a package; the machine image's own is Debian's. */
function containerdMajor(own: readonly SoftwareFile[]): number {
  const names = own.map(({ role, path, version }) =>
    role === 'deb' ? basename(path) : `${role}_${version.replace(/^v/, '')}`,
  );
  return Number(names.flatMap((name) => /^containerd[^_]*_(\d+)\./.exec(name)?.[1] ?? [])[0] ?? 1);
}

interface MachineFiles {
  readonly metadata: SoftwareFile;
  readonly rootfs: SoftwareFile;
}

function nodeRecipe(software: Software, own: readonly SoftwareFile[], machine: MachineFiles): Recipe {
  const isV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const { distribution, cni, versions } = software;
  return {
    id: 'machine-node',
    title: `the machine image with ${distribution} ${versions.kubernetes} and its container images`,
    revision: 1,
    needs: [],
    assets: [
      ...['images/machine/node.sh', 'images/machine/import-images.sh', 'images/machine/files'],
      'manifests/containerd',
    ],
    parameters: {
      ...{ distribution, cni, kubernetes: versions.kubernetes, cgroups: isV2 ? 'v2' : 'v1' },
      machine: machine.rootfs.sha256,
      files: JSON.stringify(own.map(({ role, sha256 }) => [role, sha256])),
    },
    seconds: 30,
    lines: 50,
    build: async (context) => {
      const { work, out } = context;
      const at = (folder: string) => join(work, folder);
      for (const folder of ['files', 'debs', 'images']) await mkdir(at(folder));
      for (const file of filesOf(software, ...PROGRAMS)) await layProgram(context, file, at('files'));
      for (const { path } of filesOf(software, 'deb')) await symlink(path, join(at('debs'), basename(path)));
      for (const file of filesOf(software, ...IMAGES))
        await (distribution === 'k3s'
          ? copyTo(file.path, join(at('files'), K3S_IMAGES, k3sArchive(file)))
          : symlink(file.path, join(at('images'), `${file.sha256.slice(0, 16)}-${basename(file.path)}`)));
      if (distribution === 'kubeadm') await layRuntime(software, own, isV2, at('files'));
      await context.script(
        ...(['machine/node.sh', work, out, machine.rootfs.path] as const),
        ...['files', 'debs', 'images'].map(at),
      );
      await copyFile(machine.metadata.path, join(out, 'metadata.tar'));
    },
  };
}

async function layProgram({ run }: BuildContext, file: SoftwareFile, files: string): Promise<void> {
  const place = placeOf(file);
  if ('path' in place) {
    await copyTo(file.path, join(files, place.path));
    return chmod(join(files, place.path), 0o755);
  }
  const folder = join(files, place.folder);
  await mkdir(folder, { recursive: true });
  await run(['tar', '--extract', '--no-same-owner', '--file', file.path, '--directory', folder]);
}

/** What installKubeadm writes on a node that has no such image. */
async function layRuntime(
  software: Software,
  own: readonly SoftwareFile[],
  isV2: boolean,
  files: string,
): Promise<void> {
  const images = await Promise.all(
    filesOf(software, 'image-archive').map(({ path }) => readImageArchive(path)),
  );
  const rendered = renderRuntimeFiles({
    containerdMajor: containerdMajor(own),
    sandboxImage: images.flat().find(({ name }) => /\/pause:/.test(name))?.name ?? IMAGE_RUNTIME.sandboxImage,
    cgroupDriver: isV2 ? 'systemd' : 'cgroupfs',
    cni: software.cni,
    isBrought: filesOf(software, 'containerd').length > 0,
  });
  for (const { path, content, mode = 0o644 } of rendered) {
    await mkdir(dirname(join(files, path)), { recursive: true });
    await writeFile(join(files, path), content, { mode });
  }
}

async function copyTo(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to, constants.COPYFILE_FICLONE);
}
