import type { MachineDriver } from '../../machines/driver.ts';
import type { LabPlan } from '../../plan/types.ts';
import type { DistributionName } from '../../spec/types.ts';
import type { StepTitle } from '../steps.ts';

const FIRST_STEPS: readonly StepTitle[] = [
  { id: 'packages', title: 'Host packages', why: 'the container daemon and what builds images, from apt' },
  { id: 'artifacts', title: 'Images and binaries', why: 'made here or fetched, checked, kept in the cache' },
  { id: 'host', title: 'Bridge, storage and image', why: "a project, pool and bridge of the lab's own" },
  { id: 'machines', title: 'Machines', why: 'booted by cloud-init, reached over SSH with pinned host keys' },
];

/** The lab's own image has all this already, as long as its artifacts were made with it. */
const SOFTWARE_STEP: StepTitle = {
  id: 'software',
  title: 'Software',
  why: 'packages, container runtime, Kubernetes and container images, over SSH',
};

/** What installs a control plane and what a worker joins with. */
const WORDS: Readonly<Record<DistributionName, { readonly server: string; readonly worker: string }>> = {
  kubeadm: { server: 'kubeadm init', worker: 'kubeadm join' },
  k3s: { server: 'k3s server', worker: 'k3s agent' },
};

function lastSteps({ choices, kubernetes }: LabPlan): readonly StepTitle[] {
  const { server, worker } = WORDS[choices.distribution.value];
  const isCalico = choices.cni.value === 'calico';
  return [
    {
      id: 'control-plane',
      title: 'Control plane and BGP',
      why: `${server}, while FRR ${isCalico ? 'is' : 'and BIRD are'} configured`,
    },
    {
      id: 'join',
      title: 'Workers and workloads',
      why: `${worker}, all at once; ${kubernetes.dns === 'lab' ? 'cluster DNS and ' : ''}echo applied${isCalico ? ', and Calico' : ''}`,
    },
    {
      id: 'network',
      title: 'Pod network',
      why: isCalico
        ? 'BGP configuration, peer, filter and password, as soon as Calico serves their kinds'
        : 'its block of pod addresses for every node',
    },
    { id: 'ready', title: 'Nodes and pods', why: 'every node, cluster DNS and every echo pod Ready' },
    {
      id: 'routes',
      title: 'Sessions and routes',
      why: 'Established at both ends, next hops right in the kernels',
    },
  ];
}

/** Whether machines get software over SSH, because they come plain or their image was made without it. */
export function hasSoftwareStep(machines: MachineDriver['machines'], { choices }: LabPlan): boolean {
  return machines === 'plain' || choices.artifacts.value !== 'debian';
}

/** labup, in order. */
export function upSteps(machines: MachineDriver['machines'], plan: LabPlan): readonly StepTitle[] {
  return [...FIRST_STEPS, ...(hasSoftwareStep(machines, plan) ? [SOFTWARE_STEP] : []), ...lastSteps(plan)];
}
