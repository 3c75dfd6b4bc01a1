import { type LabPlan, theMachine } from '../plan/types.ts';
import { type RenderedFile, readAsset } from '../shared/files.ts';
import { sizeOf } from '../shared/ip.ts';
import { K8S_IMAGE_REPOSITORY, PAUSE_TAG } from '../shared/versions.ts';
import type { CniName } from '../spec/types.ts';
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

/** Who makes the control groups of pods: kubelet and containerd must agree on it. */
export type CgroupDriver = 'cgroupfs' | 'systemd';

/** kubelet's own limit, see KubeletConfiguration.maxPods. */
const KUBELET_MAX_PODS = 110;

/** The resolv.conf that kubelet hands to pods outside of cluster DNS: CoreDNS is one. */
export const RESOLV_CONF = '/etc/lab/resolv.conf';

/**
 * How many pods a node may have. With the `bird` CNI a node's addresses are its one block, of which host-local gives out
 * neither the first (the network's) nor the last (broadcast); Calico takes another block when one is full.
 */
export function maxPods({ choices, kubernetes }: LabPlan): number {
  if (choices.cni.value !== 'bird') return KUBELET_MAX_PODS;
  return Math.min(KUBELET_MAX_PODS, sizeOf(kubernetes.podBlockLength) - 2);
}

/**
 * Names outside of the cluster lead to the control plane's port 53, which refuses them at once. CoreDNS does not start
 * without a name server (plugin/forward: "no nameservers found"), a machine of the lab has none, and no question may
 * leave the lab: k3s would write 8.8.8.8 in here by itself.
 */
export function renderResolvConf(plan: LabPlan): RenderedFile {
  const content = `# Made by labup: a lab has no name server but its cluster's.\nnameserver ${theMachine(plan, 'control-plane').address}\n`;
  return { path: RESOLV_CONF, content };
}
