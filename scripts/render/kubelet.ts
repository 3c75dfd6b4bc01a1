import { type LabPlan, theMachine } from '../plan/types.ts';
import type { RenderedFile } from '../shared/files.ts';
import { sizeOf } from '../shared/ip.ts';

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
