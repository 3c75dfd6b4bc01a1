import { checkBgp } from '../../bgp/checks/judge.ts';
import { observeBgp } from '../../bgp/checks/observe.ts';
import { type BgpProblem, endingSessions } from '../../bgp/checks/sessions.ts';
import { cniOf } from '../../bgp/choose-cni.ts';
import type { Cni } from '../../bgp/cni.ts';
import { ensureRouter } from '../../bgp/speakers.ts';
import { distributionOf } from '../../cluster/choose-distribution.ts';
import type { ClusterContext, Distribution } from '../../cluster/distribution.ts';
import { clearedWorkers, joinWorkers } from '../../cluster/join.ts';
import { waitForApiPort } from '../../cluster/kubeadm.ts';
import { kubeconfigVia } from '../../cluster/kubeconfig.ts';
import { type Kubectl, kubectlWith } from '../../cluster/kubectl.ts';
import { nodeReasons } from '../../cluster/node-reasons.ts';
import { waitForApi, waitForNodeObjects, waitForNodes } from '../../cluster/nodes.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { bootTimes, requireMachine } from '../../machines/connect.ts';
import { announcements, meantPlan } from '../../matrix/network.ts';
import { readEndpoints } from '../../matrix/state/read.ts';
import { type LabPlan, type MachinePlan, machinesOf, theMachine } from '../../plan/types.ts';
import {
  renderClusterDns,
  renderEchoPods,
  renderEchoServices,
  renderLoadBalancer,
} from '../../render/manifests.ts';
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
  /** The workers that were started beside the control plane. */
  readonly started: readonly MachinePlan[];
  /** Until these are whole, and until the control plane is. */
  readonly completing: Promise<unknown>;
  readonly making: Promise<unknown>;
}

function contextOf({ plan, secrets, deps: { signal } }: Lab, emit: Emit): ClusterContext {
  return { plan, secrets, emit, signal };
}

/**
 * Starts the control plane, and configures the BGP daemons beside it. Where the cluster is made anew, with credentials made
 * beforehand, the workers start too, and the API server is used as soon as it answers, while kubeadm completes all.
 */
export async function startControlPlane(lab: Lab, emit: Emit) {
  const { plan, machines, secrets, state, deps, artifacts, api } = lab;
  const distribution = distributionOf(plan);
  const cni = cniOf(plan);
  const apiServer = requireMachine(machines, theMachine(plan, 'control-plane').name);
  const isNew = lab.credentials !== undefined && !(await distribution.isJoined(apiServer));
  const credentials = isNew ? await lab.credentials?.() : undefined;
  const context = { ...contextOf(lab, emit), credentials };
  const workers = machinesOf(plan, 'worker');
  const boots = bootTimes(machines);
  const starting = Promise.all(
    workers.map(async (node) => {
      const machine = requireMachine(machines, node.name);
      const [prepared] = await Promise.all([
        cni.prepareNode(machine, node, context),
        distribution.prepareNode(machine),
      ]);
      if (credentials === undefined) return prepared;
      await distribution.clearWorker(machine, credentials.ca, context);
      await distribution.startWorker?.(machine, node, context);
      return true;
    }),
  );
  const making = Promise.all([
    controlPlane(distribution, cni, machines, context),
    ensureRouter(requireMachine(machines, theMachine(plan, 'router').name), plan, secrets),
    starting,
    boots,
  ]);
  const failed = new AbortController();
  making.catch(() => failed.abort());
  const changed = isNew || (await making).slice(0, 3).flat().includes(true);
  const admin = credentials ?? (await distribution.readAdminAccess(apiServer));
  await state.write('kubeconfig', kubeconfigVia(admin.kubeconfig, apiServer.address));
  await state.write(KUBECTL_NOTE, artifacts.kubectl);
  const kubeconfig = state.path('kubeconfig');
  const access = { binary: artifacts.kubectl, kubeconfig, ...api.via };
  const kubectl = kubectlWith(deps.local, access, deps.apiReader);
  const ends = deps.signal === undefined ? failed.signal : AbortSignal.any([deps.signal, failed.signal]);
  const started = credentials === undefined ? [] : workers;
  const listening =
    credentials === undefined ? undefined : waitForApiPort(apiServer, { ...context, signal: ends });
  const running = started.map(({ name }) => requireMachine(machines, name));
  const complete = async () => {
    if (credentials === undefined) return;
    await Promise.all([starting, listening]);
    await waitForNodeObjects(kubectl, running, emit, ends);
    await Promise.all([
      distribution.completeWorkers?.(kubectl, running, context),
      cni.settle(kubectl, context),
    ]);
  };
  const completing = complete();
  completing.catch(() => failed.abort());
  const answers = async () => {
    await listening;
    await waitForApi(kubectl, emit, ends, () => nodeReasons(apiServer));
  };
  const answering = answers();
  // One that fails says why in its own words, and ends the waiting of the others.
  await Promise.race([Promise.all([making, completing]), answering]);
  await answering;
  return { changed, kubectl, ca: admin.ca, boots: await boots, started, completing, making };
}

/** Joins the workers that are missing, and applies CNI and workloads meanwhile. */
export async function joinWorkersAndApply(lab: Cluster, emit: Emit) {
  const { plan, machines, kubectl, ca, artifacts, started } = lab;
  const context = contextOf(lab, emit);
  const workers = { distribution: distributionOf(plan), machines, kubectl, ca, started };
  const missing = await clearedWorkers(workers, context);
  const changed = await Promise.all([
    cniOf(plan).deploy(kubectl, artifacts.software, context),
    applyWorkloads(lab),
    joinWorkers(workers, missing, context),
    lab.completing.then(() => false),
    lab.making.then(() => false),
  ]);
  return { changed: changed.includes(true) };
}

/** What the CNI needs once the nodes have joined. */
export async function configureNetwork(lab: Cluster, emit: Emit) {
  return { changed: await cniOf(lab.plan).settle(lab.kubectl, contextOf(lab, emit)) };
}

/** Waits until every node and every pod is Ready, and the LoadBalancer services have their addresses. */
export async function waitForPodsAndNodes(lab: Cluster, emit: Emit) {
  const { kubectl, plan, boots, started, deps } = lab;
  const { signal } = deps;
  await waitForNodes(kubectl, plan, emit, signal);
  if (started.length > 0) await applyManifests(kubectl, renderEchoPods(plan), signal);
  const { servers, clientPod } = plan.echo;
  const isKubeadm = plan.choices.distribution.value === 'kubeadm';
  const ready = (namespace: string, set: PodSet) => waitForPods(kubectl, namespace, set, boots, emit, signal);
  const waitForSystem = (app: string, count: number) =>
    ready('kube-system', { selector: `k8s-app=${app}`, count });
  // These come last: the others are only looked at then, and take no time from them meanwhile.
  await ready(plan.echo.namespace, { names: [...servers.map(({ pod }) => pod), clientPod.pod] });
  await Promise.all([
    // kubeadm runs CoreDNS twice.
    waitForSystem('kube-dns', isKubeadm && plan.kubernetes.dns === 'coredns' ? 2 : 1),
    waitForAddresses(kubectl, plan.echo.namespace, emit, signal),
    // With k3s kube-proxy is a part of k3s itself.
    isKubeadm && waitForSystem('kube-proxy', machinesOf(plan, 'control-plane', 'worker').length),
  ]);
  return { changed: started.length > 0 };
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
      return { done: false, why: `${first.why} (${wrong.length} wrong)` };
    },
    next: 'npx labtest   (names every session and route that is wrong)',
    signal,
    emit,
  });
  return { changed: false };
}

/** The BGP sessions and routes that are not as planned now, and the sessions that are about to end. */
export async function wrongRoutes(
  kubectl: Kubectl,
  plan: LabPlan,
  machines: ReadonlyMap<string, RemoteMachine>,
  signal: AbortSignal | undefined,
): Promise<readonly BgpProblem[]> {
  const endpoints = await readEndpoints(kubectl, plan);
  const observed = await observeBgp(plan, machines, signal);
  const checks = checkBgp(meantPlan(plan, endpoints), announcements(plan, endpoints), observed);
  const wrong = checks
    .filter(({ verdict }) => verdict !== 'passed')
    .map((check) => {
      const { title, observed: seen, expected } = describeCheck(check);
      return { id: check.id, why: `${title}: ${seen}, not ${expected}` };
    });
  return [...wrong, ...endingSessions(plan, observed)];
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
  const preparing = Promise.all([cni.prepareNode(machine, node, context), distribution.prepareNode(machine)]);
  const [[prepared], made] = await Promise.all([
    preparing,
    distribution.ensureControlPlane(machine, context, preparing),
  ]);
  return prepared || made;
}

// Pods that no node can take yet are tried again after 1, 2, 4 ... seconds: in a new cluster they come when there are nodes.
async function applyWorkloads({ kubectl, plan, boots, started, deps }: Cluster): Promise<boolean> {
  const { namespace } = plan.echo;
  const isNew = started.length > 0;
  const services = renderEchoServices(plan);
  const removed = isNew
    ? []
    : [
        await removeEndedPods(kubectl, namespace, boots),
        await removeOtherServices(kubectl, namespace, services),
      ];
  const dns = plan.kubernetes.dns === 'lab' ? renderClusterDns(plan) : '';
  const pods = isNew ? '' : renderEchoPods(plan);
  const manifests = [dns, renderLoadBalancer(plan), services, pods].filter((text) => text !== '');
  const applied = await applyManifests(kubectl, manifests.join('---\n'), deps.signal);
  return applied || removed.includes(true);
}
