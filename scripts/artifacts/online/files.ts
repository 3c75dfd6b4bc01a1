import { type FileRole, NODE_ROLES, type NodeRole, type SoftwareFacts } from '../../plan/software.ts';
import type { DistributionName } from '../../spec/types.ts';
import type { Download } from './download.ts';
import type { ImageWanted } from './images.ts';
import type { Component, PinnedFile, PinnedImage, Platform, Versions } from './versions.ts';

/** Debian's names, which are Go's. */
export type Architecture = 'amd64' | 'arm64';

/** Where one file of a lab comes from. */
export type Source =
  | { readonly kind: 'download'; readonly download: Download }
  | { readonly kind: 'image'; readonly image: ImageWanted };

/** One file of a lab that is had from its publisher. */
export interface OnlineFile {
  readonly role: FileRole;
  /** In a bundle's folder. */
  readonly path: string;
  readonly version: string;
  readonly nodes: readonly NodeRole[];
  /** kubectl only: the host's, as Go calls it. */
  readonly platform?: Platform;
  readonly source: Source;
}

export interface OnlineChoice {
  readonly distribution: DistributionName;
  readonly architecture: Architecture;
  /** Where labup runs, and so kubectl; default: Linux of the lab's architecture. */
  readonly hostPlatform?: Platform | undefined;
  /** How Calico is installed; default: as versions.yaml says. */
  readonly calicoMethod?: Versions['calico']['method'] | undefined;
}

const PROGRAMS: readonly FileRole[] = ['k3s', 'kubelet', 'kubeadm', 'kubectl', 'runc'];

/** Every file that a lab of this distribution and architecture needs from outside, from the lock alone. */
export function onlineFiles(lock: Versions, choice: OnlineChoice): readonly OnlineFile[] {
  const { distribution, architecture, calicoMethod = lock.calico.method } = choice;
  const machine: Platform = `linux/${architecture}`;
  const host = choice.hostPlatform ?? machine;
  const calico: Component = { version: lock.calico.version, ...lock.calico.methods[calicoMethod] };
  const whole = (component: Component) => [
    ...component.files.map((file) => pinnedFile(component, file, file.role === 'kubectl' ? host : machine)),
    ...component.images.map((image) => pinnedImage(image, architecture)),
  ];
  if (distribution === 'kubeadm') {
    const { kubernetes, containerd, runc, crictl } = lock;
    return [kubernetes, containerd, runc, lock['cni-plugins'], crictl, calico].flatMap(whole);
  }
  // k3s has a containerd, runc and crictl in it, and is a kubectl too, but only where it can run.
  const kubectl = whole(lock.kubernetes).filter(({ role }) => role === 'kubectl' && host !== machine);
  return [...whole(lock.k3s), ...kubectl, ...whole(calico)];
}

/** What a plan has to know of the software of the lock. */
export function onlineFacts(lock: Versions, distribution: DistributionName): SoftwareFacts {
  const { k3s, kubernetes, calico } = lock;
  const { version } = distribution === 'k3s' ? k3s : kubernetes;
  return { distribution, cni: 'calico', versions: { kubernetes: version, calico: calico.version } };
}

function pinnedFile(
  { version }: Component,
  { role, path, downloads }: PinnedFile,
  platform: Platform,
): OnlineFile {
  const pinned = downloads[platform] ?? downloads.any;
  if (pinned === undefined) throw new Error(`versions.yaml has no ${path} for ${platform}`);
  const name = path.split('/').at(-1) ?? path;
  const download: Download = { ...pinned, name, version, executable: PROGRAMS.includes(role) };
  const source: Source = { kind: 'download', download };
  const file = { role, path, version, nodes: [...NODE_ROLES], source };
  return role === 'kubectl' ? { ...file, platform } : file;
}

function pinnedImage({ name, tag, digest, nodes }: PinnedImage, architecture: Architecture): OnlineFile {
  return {
    role: 'image-archive',
    path: `images/${name.split('/').slice(1).join('_')}.tar`,
    version: tag,
    nodes,
    source: { kind: 'image', image: { name, tag, digest, architecture } },
  };
}
