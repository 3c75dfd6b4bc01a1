import { z } from 'zod';
import { type CalicoObject, readCalicoObjects } from '../../bgp/calico/objects.ts';
import { calicoSettings, podBlocksOf } from '../../bgp/calico/settings.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import type { Executor } from '../../exec/executor.ts';
import type { LabPlan } from '../../plan/types.ts';
import type { Endpoints } from '../endpoints.ts';
import { parseClusterObjects, parseJson, parseWith } from './cluster.ts';
import { readMachine, unknownMachine } from './machine.ts';
import { POLICY_KINDS, parsePolicies } from './policies.ts';
import { proxySettings } from './proxy.ts';
import type { ClusterState, MachineState, ObservedState } from './types.ts';

/** The objects that expectations follow from. */
const OBSERVED_KINDS = 'services,endpointslices,pods,nodes';

/** Asks the API server. Throws HarnessError where it says something unexpected, CommandError where it cannot be asked. */
export async function readCluster(kubectl: Kubectl, plan: LabPlan): Promise<ClusterState> {
  const [objects, configMap, calico, names, admin] = await Promise.all([
    kubectl.run(['get', `${OBSERVED_KINDS},${POLICY_KINDS}`, '-A', '-o', 'json']),
    kubectl.run(['get', 'configmap', 'kube-proxy', '-n', 'kube-system', '--ignore-not-found', '-o', 'json']),
    readCalico(kubectl, plan),
    readCorefile(kubectl, plan),
    readAdminPolicies(kubectl),
  ]);
  const cluster = parseClusterObjects(objects.stdout, plan.echo.namespace);
  return {
    ...cluster,
    ...calicoState(calico),
    policies: parsePolicies(objects.stdout, calico, admin),
    ...names,
    ...proxySettings(configMap.stdout, cluster.nodes),
    domain: plan.kubernetes.domain,
  };
}

/** Asks the API server for its nodes alone. Throws what readCluster throws. */
export async function readNodes(kubectl: Kubectl): Promise<ClusterState['nodes']> {
  const { stdout } = await kubectl.run(['get', 'nodes', '-o', 'json']);
  return parseClusterObjects(stdout).nodes;
}

/** The group of AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy: each is served only where it was installed. */
const ADMIN_GROUP = 'policy.networking.k8s.io';
/** Its kinds, by kubectl: they stay the same for as long as a command runs. */
const adminKinds = new WeakMap<Kubectl, readonly string[]>();
const group = z.object({ versions: z.array(z.object({ groupVersion: z.string() })) });
const resources = z.object({ resources: z.array(z.object({ name: z.string() })) });

/** All objects of the group; undefined where the API server does not serve it. */
async function readAdminPolicies(kubectl: Kubectl): Promise<string | undefined> {
  const kinds = adminKinds.get(kubectl) ?? (await servedAdminKinds(kubectl));
  adminKinds.set(kubectl, kinds);
  if (kinds.length === 0) return undefined;
  return (await kubectl.run(['get', kinds.join(), '-A', '-o', 'json'])).stdout;
}

async function servedAdminKinds(kubectl: Kubectl): Promise<readonly string[]> {
  const raw = (path: string) => kubectl.run(['get', '--raw', `/apis/${path}`], { okCodes: [0, 1] });
  const { exitCode, stdout } = await raw(ADMIN_GROUP);
  if (exitCode !== 0) return [];
  const { versions } = parseWith(group, 'API group', parseJson(stdout));
  const served = await Promise.all(versions.map(({ groupVersion }) => raw(groupVersion)));
  const names = served.flatMap((version) =>
    parseWith(resources, 'list of resources', parseJson(version.stdout)).resources.map(({ name }) => name),
  );
  return [...new Set(names)].filter((name) => !name.includes('/')).map((name) => `${name}.${ADMIN_GROUP}`);
}

/** Whether pods have names: the lab's own DNS has them, a Corefile may say "pods insecure" or "pods verified". */
async function readCorefile(kubectl: Kubectl, plan: LabPlan): Promise<Pick<ClusterState, 'podRecords'>> {
  if (plan.kubernetes.dns !== 'coredns') return { podRecords: true };
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
async function readMachines(
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
