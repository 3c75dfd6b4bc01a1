import { join } from 'node:path';
import { DEBIAN_SOFTWARE } from '../plan/plan.ts';
import type { FileRole, NodeRole, Software, SoftwareFile } from '../plan/software.ts';
import { K8S_VERSION } from '../shared/versions.ts';
import { artifactFolder, artifactSums, cacheProblem } from './cache.ts';
import { archiveOf, CONTAINER_IMAGES } from './container-images.ts';
import { debianArchitecture } from './debian.ts';
import { type Artifacts, recipeKeys } from './ensure.ts';
import { baseRecipes } from './recipes.ts';

/** The nodes whose pods run an archive's images; both where it is not listed. */
const ARCHIVE_NODES: Readonly<Record<string, readonly NodeRole[]>> = {
  echo: ['worker'],
  'cluster-dns': ['control-plane'],
  etcd: ['control-plane'],
  'kube-apiserver': ['control-plane'],
  'kube-controller-manager': ['control-plane'],
  'kube-scheduler': ['control-plane'],
};

const BOTH: readonly NodeRole[] = ['control-plane', 'worker'];

/** The finished recipes as a lab's software: all that nodes need is in the machine image already. */
export async function debianSoftware({
  kubernetes,
  containerImages,
  machineImage,
}: Artifacts): Promise<Software> {
  const [binaries, images] = await Promise.all([
    artifactSums(kubernetes.folder),
    artifactSums(containerImages.folder),
  ]);
  const binary = (role: FileRole, more: Partial<SoftwareFile> = {}) =>
    fileOf(role, kubernetes.folder, role, binaries, more);
  return {
    ...DEBIAN_SOFTWARE,
    files: [
      binary('kubelet'),
      binary('kubeadm'),
      binary('kubectl', { platform: `linux/${debianArchitecture()}`, inMachineImage: false }),
      ...[...new Set(CONTAINER_IMAGES.map(archiveOf))].map((archive) =>
        imageFile(archive, containerImages.folder, images),
      ),
      ...(machineImage === undefined ? [] : await machineFiles(join(machineImage.rootfsFile, '..'))),
    ],
  };
}

/** The recipes that make a file that a bundle may leave out, the smallest first. */
const MAKERS = {
  'echo-image': ['echo-image', 'container-images'],
  'machine-rootfs': ['machine-base', 'machine-image'],
} as const;

/** The files of one role that the cache holds, whole; undefined where it does not. */
export async function cachedFiles(
  cache: string,
  role: keyof typeof MAKERS,
): Promise<readonly SoftwareFile[] | undefined> {
  const keys = new Map([...recipeKeys(), ...recipeKeys(baseRecipes())]);
  for (const id of MAKERS[role]) {
    const key = keys.get(id) ?? '';
    const folder = artifactFolder(cache, id, key);
    if ((await cacheProblem(folder, key)) !== undefined) continue;
    if (role === 'machine-rootfs') return machineFiles(folder);
    const sums = await artifactSums(folder);
    return [{ ...imageFile('echo', folder, sums), inMachineImage: false }];
  }
  return undefined;
}

function imageFile(archive: string, folder: string, sums: Readonly<Record<string, string>>): SoftwareFile {
  const images = CONTAINER_IMAGES.filter((image) => archiveOf(image) === archive);
  return fileOf(archive === 'echo' ? 'echo-image' : 'image-archive', folder, `${archive}.tar`, sums, {
    version: images.map(({ reference }) => reference.slice(reference.lastIndexOf(':') + 1))[0] ?? '',
    nodes: ARCHIVE_NODES[archive] ?? BOTH,
  });
}

/** The machine image of a finished recipe. */
export async function machineFiles(folder: string): Promise<readonly SoftwareFile[]> {
  const sums = await artifactSums(folder);
  const more = { version: DEBIAN_SOFTWARE.versions.kubernetes, inMachineImage: false };
  return [
    fileOf('machine-metadata', folder, 'metadata.tar', sums, more),
    fileOf('machine-rootfs', folder, 'rootfs.squashfs', sums, more),
  ];
}

function fileOf(
  role: FileRole,
  folder: string,
  name: string,
  sums: Readonly<Record<string, string>>,
  more: Partial<SoftwareFile>,
): SoftwareFile {
  const sha256 = sums[name];
  if (sha256 === undefined) throw new Error(`${folder} holds no ${name}`);
  const common = { version: K8S_VERSION, nodes: BOTH, inMachineImage: true };
  return { role, path: join(folder, name), sha256, ...common, ...more };
}
