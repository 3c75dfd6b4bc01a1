import type { MachineDriver } from '../machines/driver.ts';
import type { StepTitle } from './steps.ts';

const FIRST_STEPS: readonly StepTitle[] = [
  { id: 'packages', title: 'Host packages', why: 'the container daemon and what builds images, from apt' },
  { id: 'artifacts', title: 'Images and binaries', why: 'made once from Debian packages, then cached' },
  { id: 'host', title: 'Bridge, storage and image', why: "a project, pool and bridge of the lab's own" },
  { id: 'machines', title: 'Machines', why: 'booted by cloud-init, reached over SSH with pinned host keys' },
];

/** Machines of the lab's own image have all this already. */
const SOFTWARE_STEP: StepTitle = {
  id: 'software',
  title: 'Software',
  why: 'packages, container runtime, kubelet and container images, over SSH',
};

const LAST_STEPS: readonly StepTitle[] = [
  {
    id: 'control-plane',
    title: 'Control plane and BGP',
    why: 'kubeadm init, while FRR and BIRD are configured',
  },
  {
    id: 'join',
    title: 'Workers and workloads',
    why: 'kubeadm join, all at once; cluster DNS and echo applied',
  },
  { id: 'ready', title: 'Nodes and pods', why: 'every node, cluster DNS and every echo pod Ready' },
  {
    id: 'routes',
    title: 'Sessions and routes',
    why: 'Established at both ends, next hops right in the kernels',
  },
];

/** labup, in order. */
export function upSteps(machines: MachineDriver['machines']): readonly StepTitle[] {
  return [...FIRST_STEPS, ...(machines === 'plain' ? [SOFTWARE_STEP] : []), ...LAST_STEPS];
}
