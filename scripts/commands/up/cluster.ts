import type { Check } from '../../bgp/checks/check.ts';
import { checkBgp } from '../../bgp/checks/judge.ts';
import { observeBgp } from '../../bgp/checks/observe.ts';
import { cniOf } from '../../bgp/choose-cni.ts';
import type { Cni } from '../../bgp/cni.ts';
import { ensureRouter } from '../../bgp/speakers.ts';
import { distributionOf } from '../../cluster/choose-distribution.ts';
import type { ClusterContext, Distribution } from '../../cluster/distribution.ts';
import { clearedWorkers, joinWorkers } from '../../cluster/join.ts';
import { kubeconfigVia } from '../../cluster/kubeconfig.ts';
import { type Kubectl, kubectlWith } from '../../cluster/kubectl.ts';
import { nodeReasons } from '../../cluster/node-reasons.ts';
import { waitForApi, waitForNodes } from '../../cluster/nodes.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { bootTimes, requireMachine } from '../../machines/connect.ts';
import { announcements, meantPlan } from '../../matrix/network.ts';
import { readEndpoints } from '../../matrix/state/read.ts';
import { type LabPlan, machinesOf, theMachine } from '../../plan/types.ts';
import { renderClusterDns, renderEcho, renderLoadBalancer } from '../../render/manifests.ts';
import { describeCheck } from '../../report/check-text.ts';
import type { Emit } from '../../shared/events.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';
import {
  applyManifests,
  type Boots,
  type PodSet,
  removeEndedPods,
  removeOtherServices,
  waitForAddresses,
  waitForPods,
} from '../../workloads/apply.ts';
import { KUBECTL_NOTE } from '../access.ts';
import type { Deps, LabArtifacts } from '../deps.ts';
import type { LabState } from '../state.ts';
import type { Machines } from './machines.ts';

/** What the steps of the cluster work with. */
interface Lab extends Machines {
  readonly deps: Pick<Deps, 'apiReader' | 'local' | 'signal'>;
  readonly state: LabState;
  readonly artifacts: LabArtifacts;
}

/** A lab whose API server answers. */
interface Cluster extends Lab {
  readonly kubectl: Kubectl;
  /** The cluster's CA certificate, PEM. */
  readonly ca: string;
  readonly boots: Boots;
}

function contextOf({ plan, secrets, deps: { signal } }: Lab, emit: Emit): ClusterContext {
  return { plan, secrets, emit, signal };
}

/** Starts the control plane, and configures the BGP daemons beside it. */
export async function startControlPlane(lab: Lab, emit: Emit) {
  const { plan, machines, secrets, state, deps, artifacts, api } = lab;
  const context = contextOf(lab, emit);
  const distribution = distributionOf(plan);
  const cni = cniOf(plan);
  const boots = await bootTimes(machines);
  const changed = await Promise.all([
    controlPlane(distribution, cni, machines, context),
    ensureRouter(requireMachine(machines, theMachine(plan, 'router').name), plan, secrets),
    ...machinesOf(plan, 'worker').map(async (node) => {
      const machine = requireMachine(machines, node.name);
      await distribution.prepareWorker(machine);
      return cni.prepareNode(machine, node, context);
    }),
  ]);
  const apiServer = requireMachine(machines, theMachine(plan, 'control-plane').name);
  const admin = await distribution.readAdminAccess(apiServer);
  await state.write('kubeconfig', kubeconfigVia(admin.kubeconfig, apiServer.address));
  await state.write(KUBECTL_NOTE, artifacts.kubectl);
  const kubeconfig = state.path('kubeconfig');
  const kubectl = kubectlWith(
    deps.local,
    { binary: artifacts.kubectl, kubeconfig, ...api.via },
    deps.apiReader,
  );
  await waitForApi(kubectl, emit, deps.signal, () => nodeReasons(apiServer));
  return { changed: changed.includes(true), kubectl, ca: admin.ca, boots };
}

/** Joins the workers that are missing, and applies CNI and workloads meanwhile. */
export async function joinWorkersAndApply(lab: Cluster, emit: Emit) {
  const { plan, machines, kubectl, ca, artifacts } = lab;
  const context = contextOf(lab, emit);
  const workers = { distribution: distributionOf(plan), machines, kubectl, ca };
  const missing = await clearedWorkers(workers, context);
  const changed = await Promise.all([
    cniOf(plan).deploy(kubectl, artifacts.software, context),
    applyWorkloads(lab),
    joinWorkers(workers, missing, context),
  ]);
  return { changed: changed.includes(true) };
}

/** What the CNI needs once the nodes have joined. */
export async function configureNetwork(lab: Cluster, emit: Emit) {
  return { changed: await cniOf(lab.plan).settle(lab.kubectl, contextOf(lab, emit)) };
}

/** Waits until every node and every pod is Ready, and the LoadBalancer services have their addresses. */
export async function waitForPodsAndNodes({ kubectl, plan, boots, deps: { signal } }: Cluster, emit: Emit) {
  await waitForNodes(kubectl, plan, emit, signal);
  const { servers, clientPod } = plan.echo;
  const isKubeadm = plan.choices.distribution.value === 'kubeadm';
  const ready = (namespace: string, set: PodSet) => waitForPods(kubectl, namespace, set, boots, emit, signal);
  const waitForSystem = (app: string, count: number) =>
    ready('kube-system', { selector: `k8s-app=${app}`, count });
  await Promise.all([
    ready(plan.echo.namespace, { names: [...servers.map(({ pod }) => pod), clientPod.pod] }),
    // kubeadm runs CoreDNS twice.
    waitForSystem('kube-dns', isKubeadm && plan.kubernetes.dns === 'coredns' ? 2 : 1),
    waitForAddresses(kubectl, plan.echo.namespace, emit, signal),
    // With k3s kube-proxy is a part of k3s itself.
    isKubeadm && waitForSystem('kube-proxy', machinesOf(plan, 'control-plane', 'worker').length),
  ]);
  return { changed: false };
}

/** Waits until every BGP session and every route is as planned. */
export async function waitForRoutes(lab: Cluster, emit: Emit) {
  const { kubectl, plan, machines, deps } = lab;
  const { signal } = deps;
  await cniOf(plan).waitUntilReady(kubectl, contextOf(lab, emit));
  await waitFor({
    what: 'every BGP session and route to be as planned',
    timeoutMs: TIMEOUTS.bgpEstablished,
    look: async () => {
      const wrong = await wrongRoutes(kubectl, plan, machines, signal);
      const [first] = wrong;
      if (first === undefined) return { done: true, value: undefined };
      const { title, observed: seen, expected } = describeCheck(first);
      return { done: false, why: `${title}: ${seen}, not ${expected} (${wrong.length} wrong)` };
    },
    next: 'npx labtest   (names every session and route that is wrong)',
    signal,
    emit,
  });
  return { changed: false };
}

/** The checks of BGP sessions and routes that do not pass now. */
export async function wrongRoutes(
  kubectl: Kubectl,
  plan: LabPlan,
  machines: ReadonlyMap<string, RemoteMachine>,
  signal: AbortSignal | undefined,
): Promise<readonly Check[]> {
  const endpoints = await readEndpoints(kubectl, plan);
  const observed = await observeBgp(plan, machines, signal);
  const checks = checkBgp(meantPlan(plan, endpoints), announcements(plan, endpoints), observed);
  return checks.filter(({ verdict }) => verdict !== 'passed');
}

// kubelet must not meet a node that its CNI has not prepared.
async function controlPlane(
  distribution: Distribution,
  cni: Cni,
  machines: ReadonlyMap<string, RemoteMachine>,
  context: ClusterContext,
): Promise<boolean> {
  const node = theMachine(context.plan, 'control-plane');
  const machine = requireMachine(machines, node.name);
  const prepared = await cni.prepareNode(machine, node, context);
  const made = await distribution.ensureControlPlane(machine, context);
  return prepared || made;
}

async function applyWorkloads({ kubectl, plan, boots, deps }: Cluster): Promise<boolean> {
  const { namespace } = plan.echo;
  const ended = await removeEndedPods(kubectl, namespace, boots);
  const echo = renderEcho(plan);
  const other = await removeOtherServices(kubectl, namespace, echo);
  const dns = plan.kubernetes.dns === 'lab' ? renderClusterDns(plan) : '';
  const manifests = [dns, renderLoadBalancer(plan), echo].filter((text) => text !== '');
  const applied = await applyManifests(kubectl, manifests.join('---\n'), deps.signal);
  return ended || other || applied;
}
