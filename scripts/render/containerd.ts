import { readAsset } from '../shared/assets.ts';
import type { RenderedFile } from '../shared/files.ts';
import { K8S_IMAGE_REPOSITORY, PAUSE_TAG } from '../shared/versions.ts';
import type { CniName } from '../spec/types.ts';
import type { CgroupDriver } from './kubelet.ts';
import { renderCgroupFiles } from './software.ts';
import { fillTemplate } from './template.ts';

/** What containerd and kubelet of a node are configured for. */
export interface RuntimeChoices {
  /** containerd 1 reads configuration of version 2, containerd 2 of version 3. */
  readonly containerdMajor: number;
  /** The pause image of every pod sandbox, the one that kubeadm names. */
  readonly sandboxImage: string;
  readonly cgroupDriver: CgroupDriver;
  readonly cni: CniName;
  /** containerd was brought as a release, to /usr/local/bin, and needs a unit. */
  readonly isBrought: boolean;
}

/** As the lab's own machine image has it: Debian's containerd 1.6, Kubernetes 1.20. */
export const IMAGE_RUNTIME: RuntimeChoices = {
  containerdMajor: 1,
  sandboxImage: `${K8S_IMAGE_REPOSITORY}/pause:${PAUSE_TAG}`,
  cgroupDriver: 'cgroupfs',
  cni: 'bird',
  isBrought: false,
};

/** Configuration and units of containerd and kubelet of a Kubernetes node. */
export function renderRuntimeFiles(choices: RuntimeChoices = IMAGE_RUNTIME): readonly RenderedFile[] {
  const unit = { path: '/etc/systemd/system/containerd.service' };
  return [
    { path: '/etc/containerd/config.toml', content: renderContainerdConfig(choices) },
    overlay('etc/systemd/system/containerd.service.d/10-lab.conf'),
    ...(choices.isBrought
      ? [{ ...unit, content: readAsset('manifests', 'containerd', 'containerd.service') }]
      : []),
    // Also beside a kubelet that came as a package: the lab's unit waits for lab-cgroups.
    overlay('etc/systemd/system/kubelet.service'),
    overlay('etc/systemd/system/kubelet.service.d/10-kubeadm.conf'),
    ...renderCgroupFiles(),
  ];
}

function renderContainerdConfig({
  containerdMajor,
  sandboxImage,
  cgroupDriver,
  cni,
}: RuntimeChoices): string {
  const systemd = String(cgroupDriver === 'systemd');
  if (containerdMajor >= 2) {
    const template = readAsset('manifests', 'containerd', 'config.toml');
    return fillTemplate(template, { SANDBOX: sandboxImage, SYSTEMD_CGROUP: systemd });
  }
  return overlay('etc/containerd/config.toml')
    .content.replaceAll('@REGISTRY@/pause:@PAUSE_TAG@', sandboxImage)
    .replace('SystemdCgroup = false', `SystemdCgroup = ${systemd}`)
    .replace('bin_dir = "/usr/lib/cni"', `bin_dir = "${cni === 'bird' ? '/usr/lib/cni' : '/opt/cni/bin'}"`);
}

function overlay(path: string): RenderedFile {
  return { path: `/${path}`, content: readAsset('images', 'machine', 'files', ...path.split('/')) };
}
