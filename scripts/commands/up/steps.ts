import { makesCredentials } from '../../cluster/kubeadm-credentials.ts';
import type { MachineDriver } from '../../machines/driver.ts';
import type { LabPlan } from '../../plan/types.ts';
import type { DistributionName } from '../../spec/types.ts';
import { keepLabup } from '../snapshot/kept.ts';
import { Steps } from '../steps.ts';
import {
  configureNetwork,
  joinWorkersAndApply,
  startControlPlane,
  waitForPodsAndNodes,
  waitForRoutes,
} from './cluster.ts';
import {
  bringUpMachines,
  ensureArtifacts,
  ensureHost,
  ensureHostPackages,
  installSoftware,
  needsSoftware,
  type UpStart,
} from './machines.ts';

/** What installs a control plane and what a worker joins with. */
const INSTALLERS: Readonly<Record<DistributionName, { readonly server: string; readonly worker: string }>> = {
  kubeadm: { server: 'kubeadm init', worker: 'kubeadm join' },
  k3s: { server: 'k3s server', worker: 'k3s agent' },
};

const ARTIFACTS_WHY = {
  debian: 'built once from Debian packages, kept in the cache',
  online: 'downloaded from their publishers, checked, kept in the cache',
  bundle: 'from the bundle, every file checked',
} as const;

/** labup, in order. Every step looks first and does only what is missing. */
export function upSteps(driver: Pick<MachineDriver, 'machines' | 'steps' | 'snapshots'>, plan: LabPlan) {
  const { choices, kubernetes } = plan;
  const { server, worker } = INSTALLERS[choices.distribution.value];
  const early = driver.machines === 'prebuilt' && makesCredentials(plan);
  const isCalico = choices.cni.value === 'calico';
  return new Steps<UpStart>()
    .step({
      id: 'packages',
      title: 'Host packages',
      why: 'the programs that labup needs on this host, from apt',
      run: ensureHostPackages,
    })
    .step({
      id: 'artifacts',
      title: 'Images and binaries',
      why: ARTIFACTS_WHY[choices.artifacts.value],
      run: ensureArtifacts,
    })
    .step({ id: 'host', ...driver.steps.host, run: ensureHost })
    .step({ id: 'machines', ...driver.steps.machines, run: bringUpMachines })
    .stepIf(needsSoftware(driver, plan), {
      id: 'software',
      title: 'Software',
      why: 'packages, container runtime, Kubernetes and container images, over SSH',
      run: installSoftware,
    })
    .step({
      id: 'control-plane',
      title: 'Control plane and BGP',
      why: `${server}, while FRR ${isCalico ? 'is' : 'and BIRD are'} configured${early ? ' and workers start' : ''}`,
      run: startControlPlane,
    })
    .step({
      id: 'join',
      title: 'Workers and workloads',
      why: `${early ? `${worker} of those that are not nodes yet` : `${worker}, all at once`}; ${kubernetes.dns === 'lab' ? 'cluster DNS and ' : ''}echo applied${isCalico ? ', and Calico' : ''}`,
      run: joinWorkersAndApply,
    })
    .step({
      id: 'network',
      title: 'Pod network',
      why: isCalico
        ? 'BGP configuration, peer, filter and password, as soon as Calico serves their kinds'
        : 'its block of pod addresses for every node',
      run: configureNetwork,
    })
    .step({
      id: 'ready',
      title: 'Nodes and pods',
      why: 'every node, cluster DNS and every echo pod Ready',
      run: waitForPodsAndNodes,
    })
    .step({
      id: 'routes',
      title: 'Sessions and routes',
      why: 'Established at both ends, next hops right in the kernels',
      run: waitForRoutes,
    })
    .stepIf(driver.snapshots !== undefined, {
      id: 'snapshot',
      title: 'Snapshot',
      why: 'what lab reset goes back to',
      run: async (have, emit) => ({ changed: await keepLabup(have, emit) }),
    });
}
