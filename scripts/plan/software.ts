import { UserError } from '../shared/errors.ts';
import type { CniName, DistributionName } from '../spec/types.ts';
import type { MachinePlan } from './types.ts';

/** What a file of a lab's software is for; docs/bundle.md says it of each. */
export const FILE_ROLES = [
  'k3s',
  'kubelet',
  'kubeadm',
  'kubectl',
  'containerd',
  'runc',
  'crictl',
  'cni-plugins',
  'deb',
  'image-archive',
  'echo-image',
  'calico-crds',
  'calico-operator',
  'calico-manifest',
  'machine-metadata',
  'machine-rootfs',
] as const;
export type FileRole = (typeof FILE_ROLES)[number];

export const NODE_ROLES = ['control-plane', 'worker'] as const;
export type NodeRole = (typeof NODE_ROLES)[number];

/** Which lab the software makes: what a plan has to know of it. */
export interface SoftwareFacts {
  readonly distribution: DistributionName;
  readonly cni: CniName;
  readonly versions: {
    /** "v1.20.2", "v1.36.2+k3s1". */
    readonly kubernetes: string;
    /** With cni calico: "v3.32.1". */
    readonly calico?: string | undefined;
  };
}

/** One file that a lab is made from. */
export interface SoftwareFile {
  readonly role: FileRole;
  /** Absolute path on this host. */
  readonly path: string;
  readonly version: string;
  /** 64 hex digits. */
  readonly sha256: string;
  /** The Kubernetes nodes that need it. */
  readonly nodes: readonly NodeRole[];
  /** The machine image that comes with it has it in already. */
  readonly inMachineImage: boolean;
  /** kubectl only: "linux/amd64", "darwin/arm64". */
  readonly platform?: string | undefined;
}

/** Everything that a lab is made from besides its machines, wherever it came from. Every file was checked. */
export interface Software extends SoftwareFacts {
  readonly files: readonly SoftwareFile[];
}

/** The files of some roles, in the order in which they were listed. */
export function filesOf({ files }: Software, ...roles: readonly FileRole[]): readonly SoftwareFile[] {
  return files.filter(({ role }) => roles.includes(role));
}

/** The files of some roles that a machine needs; none for a machine that is no Kubernetes node. */
export function filesFor(
  software: Software,
  machine: MachinePlan,
  ...roles: readonly FileRole[]
): readonly SoftwareFile[] {
  return filesOf(software, ...roles).filter(({ nodes }) =>
    (nodes as readonly string[]).includes(machine.role),
  );
}

/** Where a program goes on a node; kubelet and kubeadm where their packages and the lab's unit have them. */
const PROGRAMS: Partial<Record<FileRole, string>> = {
  k3s: '/usr/local/bin/k3s',
  kubelet: '/usr/bin/kubelet',
  kubeadm: '/usr/bin/kubeadm',
  runc: '/usr/local/sbin/runc',
  crictl: '/usr/local/bin/crictl',
};

/** Where the content of a release's archive goes. crictl may come as archive or as program. */
const FOLDERS: Partial<Record<FileRole, string>> = {
  containerd: '/usr/local',
  'cni-plugins': '/opt/cni/bin',
  crictl: '/usr/local/bin',
};

/** Where a file goes on a node: a program to a path, an archive unpacked into a folder. Throws UserError where it is neither. */
export function placeOf({
  role,
  path,
}: SoftwareFile): { readonly path: string } | { readonly folder: string } {
  const folder = /\.(tar|tar\.\w+|tgz)$/.test(path) ? FOLDERS[role] : undefined;
  if (folder !== undefined) return { folder };
  const program = PROGRAMS[role];
  if (program !== undefined) return { path: program };
  throw new UserError(`${path} is not what a file of role ${role} has to be.`, {
    details: ['it must be an archive, as upstream releases it: *.tar.gz or *.tgz'],
    next: 'npx lab bundle verify FOLDER',
  });
}
