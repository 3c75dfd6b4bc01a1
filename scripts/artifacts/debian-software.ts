import { join } from 'node:path';
import { NODE_ROLES, type NodeRole, type Software, type SoftwareFile } from '../plan/software.ts';
import { K8S_VERSION } from '../shared/versions.ts';
import { readManifest } from './cache.ts';
import { CONTAINER_IMAGES } from './container-images.ts';
import type { ArtifactFolder, Artifacts } from './ensure.ts';

/** Images that pods of one kind of node run; all others run everywhere. */
const IMAGE_NODES: Readonly<Record<string, NodeRole>> = {
  'kube-apiserver': 'control-plane',
  'kube-controller-manager': 'control-plane',
  'kube-scheduler': 'control-plane',
  etcd: 'control-plane',
  'cluster-dns': 'control-plane',
  echo: 'worker',
};

/** What was built from Debian packages, as a lab's software. The machine image has all of it in already. */
export async function debianSoftware({ kubernetes, containerImages }: Artifacts): Promise<Software> {
  const programs = await filesOf(kubernetes);
  const archives = await filesOf(containerImages);
  return {
    distribution: 'kubeadm',
    cni: 'bird',
    versions: { kubernetes: K8S_VERSION },
    files: [
      ...(['kubelet', 'kubeadm'] as const).map((name) => ({
        ...programs(name),
        role: name,
        nodes: NODE_ROLES,
      })),
      ...CONTAINER_IMAGES.map(({ name }): SoftwareFile => {
        const only = IMAGE_NODES[name];
        return {
          ...archives(`${name}.tar`),
          role: name === 'echo' ? 'echo-image' : 'image-archive',
          nodes: only === undefined ? NODE_ROLES : [only],
        };
      }),
    ],
  };
}

async function filesOf({ folder }: ArtifactFolder) {
  const { files } = await readManifest(folder);
  return (name: string): Omit<SoftwareFile, 'role' | 'nodes'> => {
    const file = files[name];
    if (file === undefined) throw new Error(`${folder} has no ${name}`);
    return { path: join(folder, name), version: K8S_VERSION, sha256: file.sha256, inMachineImage: true };
  };
}
