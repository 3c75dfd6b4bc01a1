import { type CalicoObject, readCalicoObjects } from '../../bgp/calico/objects.ts';
import { calicoSettings, podBlocksOf } from '../../bgp/calico/settings.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import type { Executor } from '../../exec/executor.ts';
import type { LabPlan } from '../../plan/types.ts';
import type { Endpoints } from '../endpoints.ts';
import { parseClusterObjects } from './cluster.ts';
import { readMachine, unknownMachine } from './machine.ts';
import { POLICY_KINDS, parsePolicies } from './policies.ts';
import { proxySettings } from './proxy.ts';
import type { ClusterState, MachineState, ObservedState } from './types.ts';

/** The objects that expectations follow from. */
export const OBSERVED_KINDS = 'services,endpointslices,pods,nodes';

/** Asks the API server. Throws HarnessError where it says something unexpected, CommandError where it cannot be asked. */
export async function readCluster(kubectl: Kubectl, plan: LabPlan): Promise<ClusterState> {
  const [objects, configMap, calico, names] = await Promise.all([
    kubectl.run(['get', `${OBSERVED_KINDS},${POLICY_KINDS}`, '-A', '-o', 'json']),
    kubectl.run(['get', 'configmap', 'kube-proxy', '-n', 'kube-system', '--ignore-not-found', '-o', 'json']),
    readCalico(kubectl, plan),
    readCorefile(kubectl, plan),
  ]);
  const cluster = parseClusterObjects(objects.stdout, plan.echo.namespace);
  return {
    ...cluster,
    ...calicoState(calico),
    policies: parsePolicies(objects.stdout, calico),
    ...names,
    ...proxySettings(configMap.stdout, cluster.nodes),
    domain: plan.kubernetes.domain,
  };
}

/** What the Corefile says of names of pods: "pods insecure" (kubeadm's and k3s' own) or "pods verified". */
async function readCorefile(kubectl: Kubectl, plan: LabPlan): Promise<Pick<ClusterState, 'podRecords'>> {
  if (plan.kubernetes.dns !== 'coredns') return {};
  const { stdout } = await kubectl.run([
    ...['get', 'configmap', 'coredns', '-n', 'kube-system', '--ignore-not-found'],
    ...['-o', 'jsonpath={.data.Corefile}'],
  ]);
  return { podRecords: /^\s*pods\s+(insecure|verified)\b/m.test(stdout) };
}

/** Calico's own objects. */
async function readCalico(kubectl: Kubectl, plan: LabPlan): Promise<readonly CalicoObject[] | undefined> {
  return plan.choices.cni.value === 'calico' ? readCalicoObjects(kubectl) : undefined;
}

function calicoState(objects: readonly CalicoObject[] | undefined): Pick<Endpoints, 'podBlocks' | 'calico'> {
  return objects === undefined ? {} : { podBlocks: podBlocksOf(objects), calico: calicoSettings(objects) };
}

/**
 * Asks every machine of the plan at once, one call each. A machine that cannot be asked is in the answer, with the
 * problem. Throws Interrupted on abort only.
 */
export async function readMachines(
  plan: LabPlan,
  executors: ReadonlyMap<string, Executor>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, MachineState>> {
  const machines = await Promise.all(
    plan.machines.map(({ name, role }) => {
      const executor = executors.get(name);
      if (executor === undefined) return unknownMachine(name, 'there is no connection to it');
      return readMachine(name, executor, role === 'control-plane' || role === 'worker', signal);
    }),
  );
  return new Map(machines.map((machine) => [machine.name, machine]));
}

/** Both at once: everything that expectations follow from, as it is now. */
export async function readState(
  kubectl: Kubectl,
  plan: LabPlan,
  executors: ReadonlyMap<string, Executor>,
  signal?: AbortSignal,
): Promise<ObservedState> {
  const [cluster, machines] = await Promise.all([
    readCluster(kubectl, plan),
    readMachines(plan, executors, signal),
  ]);
  return { ...cluster, machines };
}

/** Asks the API server for services and pods, and with Calico for the pod blocks. */
export async function readEndpoints(kubectl: Kubectl, plan: LabPlan): Promise<Endpoints> {
  const [{ stdout }, calico] = await Promise.all([
    kubectl.run(['get', OBSERVED_KINDS, '-A', '-o', 'json']),
    readCalico(kubectl, plan),
  ]);
  return { ...parseClusterObjects(stdout, plan.echo.namespace), ...calicoState(calico) };
}
