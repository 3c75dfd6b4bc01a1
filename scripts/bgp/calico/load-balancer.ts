import type { ClusterContext } from '../../cluster/distribution.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { explainPods } from '../../cluster/pods.ts';
import type { LabPlan } from '../../plan/types.ts';
import { type CalicoApi, loadBalancerPools } from '../../render/calico.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';
import type { InstalledCalico } from './api.ts';
import { unreadyCalico } from './node-status.ts';

interface ControllersConfiguration {
  readonly spec?: {
    readonly controllers?: { readonly loadBalancer?: { readonly assignIPs?: string } };
  };
}

/**
 * Lets Calico give addresses to every LoadBalancer service, or only to those that ask for one by annotation where the
 * lab's own brings its address in spec.externalIPs: then somebody may add another controller. Waits for the configuration,
 * which Calico's kube-controllers make themselves: one that is there before them would switch the controllers off that it
 * does not name. Returns whether it had to be changed. Calico before 3.30 has no such controller, and nothing to change.
 */
export async function ensureAssignment(
  kubectl: Kubectl,
  { api, namespace }: Pick<InstalledCalico, 'api' | 'namespace'>,
  { plan, emit, signal }: ClusterContext,
): Promise<boolean> {
  const [group] = api.split('/');
  const resource = `kubecontrollersconfigurations.${group}`;
  const calico = async () => ({
    nodes: await unreadyCalico(kubectl, namespace, 'calico-node'),
    controllers: await unreadyCalico(kubectl, namespace, 'calico-kube-controllers'),
  });
  const { spec } = await waitFor({
    what: "Calico's kube-controllers to make their configuration",
    timeoutMs: TIMEOUTS.cni,
    look: async () => {
      const path = `/apis/${api}/kubecontrollersconfigurations/default`;
      const { exitCode, stdout, stderr } = await kubectl.run(['get', '--raw', path], { okCodes: [0, 1] });
      if (exitCode === 0) return { done: true, value: JSON.parse(stdout) as ControllersConfiguration };
      // They run in the pod network, and so not before calico-node does; where that runs, they do not heal by themselves.
      const { nodes, controllers } = await calico();
      const why = [stderr.trim(), ...nodes.texts.slice(0, 2), ...controllers.texts].join('; ');
      return {
        done: false,
        why,
        hopeless: nodes.isCrashing || (nodes.pods.length === 0 && controllers.isCrashing),
      };
    },
    explain: async () => {
      const { nodes, controllers } = await calico();
      return explainPods(kubectl, namespace, [...nodes.pods, ...controllers.pods]);
    },
    next: 'npx lab kubectl get pods -A -l k8s-app=calico-kube-controllers -o wide',
    signal,
    emit,
  });
  const assigned = spec?.controllers?.loadBalancer?.assignIPs;
  const assignIPs = plan.echo.loadBalancer === 'ipam' ? 'AllServices' : 'RequestedServicesOnly';
  if (assigned === undefined || assigned === assignIPs) return false;
  const patch = JSON.stringify({ spec: { controllers: { loadBalancer: { assignIPs } } } });
  await kubectl.run(['patch', resource, 'default', '--type', 'merge', '--patch', patch]);
  return true;
}

/** Removes the pools of a lab that had its addresses from IPAM and has them no more. Returns whether any was there. */
export async function removeUnusedPools(kubectl: Kubectl, api: CalicoApi, plan: LabPlan): Promise<boolean> {
  if (plan.echo.loadBalancer === 'ipam') return false;
  const [group] = api.split('/');
  // Calico's kube-controllers clear a pool's finalizer once nothing uses it: in their time, and not at all while they are
  // down. Nothing of labup needs the pool to be gone.
  const flags = ['--ignore-not-found', '--wait=false', '--output', 'name'];
  const { stdout } = await kubectl.run(['delete', `ippools.${group}`, ...flags, ...loadBalancerPools(plan)]);
  return stdout.trim() !== '';
}
