import { checkBgp } from '../../bgp/checks/judge.ts';
import { observeBgp } from '../../bgp/checks/observe.ts';
import type { Cni } from '../../bgp/cni.ts';
import { cniOf } from '../../bgp/cnis.ts';
import { ensureRouter } from '../../bgp/speakers.ts';
import type { ClusterContext, Distribution } from '../../cluster/distribution.ts';
import { distributionOf } from '../../cluster/distributions.ts';
import { clearedWorkers, joinWorkers } from '../../cluster/join.ts';
import { kubeconfigVia } from '../../cluster/kubeconfig.ts';
import { type Kubectl, kubectlWith } from '../../cluster/kubectl.ts';
import { nodeReasons } from '../../cluster/node-reasons.ts';
import { waitForApi, waitForNodes } from '../../cluster/nodes.ts';
import { newSecrets } from '../../exec/keys.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { bootTimes } from '../../machines/boot-times.ts';
import { must } from '../../machines/connect.ts';
import { ensureSoftware } from '../../machines/software.ts';
import { announcements } from '../../matrix/network.ts';
import { readEndpoints } from '../../matrix/read-endpoints.ts';
import { type LabPlan, machinesOf, theMachine } from '../../plan/types.ts';
import { renderClusterDns, renderEcho } from '../../render/manifests.ts';
import type { Emit } from '../../shared/events.ts';
import type { Secrets } from '../../shared/secrets.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';
import {
  applyManifests,
  type Boots,
  removeEndedPods,
  removeOtherServices,
  waitForPods,
} from '../../workloads/apply.ts';

import { artifactsOf, type Deps } from '../deps.ts';
import { KUBECTL_NOTE } from '../inspect/tools.ts';
import { uninterruptible } from '../selftest/undo-faults.ts';
import type { LabState } from '../state.ts';
import type { StepRunner } from '../steps.ts';
import { bringUpMachines, type KubectlWay } from './machines.ts';
import { hasSoftwareStep } from './steps.ts';

/**
 * Brings the lab of the plan up; each step looks first and does only what is missing. Returns the plan that the lab has
 * then: with the addresses that its machines turned out to have, where it left these to be found.
 */
export async function bringUp(
  deps: Deps,
  steps: StepRunner,
  wanted: LabPlan,
  state: LabState,
): Promise<LabPlan> {
  const { local, signal } = deps;
  const driver = await deps.driver(wanted.choices.driver.value);
  const distribution = distributionOf(wanted);
  const cni = cniOf(wanted);

  const {
    image,
    software,
    kubectl: kubectlBinary,
  } = await steps.run('artifacts', async (emit) => {
    const source = await deps.artifacts(artifactsOf(wanted));
    const { artifacts, changed } = await source.ensure(driver.machines, emit, signal);
    return { value: artifacts, changed };
  });

  await steps.run('host', async (emit) => {
    const host = await driver.ensureHost(wanted, emit);
    const imported = await driver.ensureImage(wanted, image, emit);
    return { value: undefined, changed: host || imported };
  });

  const secrets = await ensureSecrets(state, wanted);
  const { machines, plan, api } = await steps.run('machines', (emit) => {
    const kubectl = (way: KubectlWay) =>
      kubectlWith(uninterruptible(local), {
        binary: kubectlBinary,
        kubeconfig: state.path('kubeconfig'),
        ...way,
      });
    return bringUpMachines(deps, wanted, state, { image, secrets, kubectl }, emit);
  });

  try {
    if (hasSoftwareStep(driver.machines, plan))
      await steps.run('software', async (emit) => {
        const changed = await Promise.all(
          plan.machines.map(async (planned) => {
            const machine = must(machines, planned.name);
            const common =
              driver.machines === 'plain' && (await ensureSoftware(machine, plan, planned, emit));
            return (await distribution.install(machine, planned, software, emit)) || common;
          }),
        );
        return { value: undefined, changed: changed.includes(true) };
      });

    const boots = await bootTimes(machines);
    const contextWith = (emit: Emit): ClusterContext => ({ plan, secrets, emit, signal });
    const { kubectl, ca } = await steps.run('control-plane', async (emit) => {
      const context = contextWith(emit);
      const changed = await Promise.all([
        controlPlane(distribution, cni, machines, context),
        ensureRouter(must(machines, theMachine(plan, 'router').name), plan, secrets),
        ...machinesOf(plan, 'worker').map(async (node) => {
          const machine = must(machines, node.name);
          await distribution.prepareWorker(machine);
          return cni.prepareNode(machine, node, context);
        }),
      ]);
      const apiServer = must(machines, theMachine(plan, 'control-plane').name);
      const admin = await distribution.readAdminAccess(apiServer);
      await state.write('kubeconfig', kubeconfigVia(admin.kubeconfig, apiServer.address));
      await state.write(KUBECTL_NOTE, kubectlBinary);
      const kubeconfig = state.path('kubeconfig');
      const client = kubectlWith(local, { binary: kubectlBinary, kubeconfig, ...api.via });
      await waitForApi(client, emit, signal, () => nodeReasons(apiServer));
      return { value: { kubectl: client, ca: admin.ca }, changed: changed.includes(true) };
    });

    await steps.run('join', async (emit) => {
      const context = contextWith(emit);
      const workers = { distribution, machines, kubectl, ca };
      const missing = await clearedWorkers(workers, context);
      const changed = await Promise.all([
        cni.deploy(kubectl, software, context),
        applyWorkloads(kubectl, plan, boots, signal),
        joinWorkers(workers, missing, context),
      ]);
      return { value: undefined, changed: changed.includes(true) };
    });

    await steps.run('network', async (emit) => ({
      value: undefined,
      changed: await cni.settle(kubectl, contextWith(emit)),
    }));

    await steps.run('ready', async (emit) => {
      await waitForNodes(kubectl, plan, emit, signal);
      await waitForWorkloads(kubectl, plan, boots, emit, signal);
      return { value: undefined, changed: false };
    });

    await steps.run('routes', async (emit) => {
      await cni.waitUntilReady(kubectl, contextWith(emit));
      await waitForBgp(kubectl, plan, machines, emit, signal);
      return { value: undefined, changed: false };
    });
    return plan;
  } finally {
    api.close();
    for (const machine of machines.values()) machine.close();
  }
}

// kubelet must not meet a node that its CNI has not prepared.
async function controlPlane(
  distribution: Distribution,
  cni: Cni,
  machines: ReadonlyMap<string, RemoteMachine>,
  context: ClusterContext,
): Promise<boolean> {
  const node = theMachine(context.plan, 'control-plane');
  const machine = must(machines, node.name);
  const prepared = await cni.prepareNode(machine, node, context);
  const made = await distribution.ensureControlPlane(machine, context);
  return prepared || made;
}

async function applyWorkloads(
  kubectl: Kubectl,
  plan: LabPlan,
  boots: Boots,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const ended = await removeEndedPods(kubectl, plan.echo.namespace, boots);
  const echo = renderEcho(plan);
  const other = await removeOtherServices(kubectl, plan.echo.namespace, echo);
  const dns = plan.kubernetes.dns === 'lab' ? [renderClusterDns(plan)] : [];
  const applied = await applyManifests(kubectl, [...dns, echo].join('---\n'), signal);
  return ended || other || applied;
}

async function waitForWorkloads(
  kubectl: Kubectl,
  plan: LabPlan,
  boots: Boots,
  emit: Emit,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { namespace, servers, clientPod } = plan.echo;
  const names = [...servers.map(({ pod }) => pod), clientPod.pod];
  const nodes = machinesOf(plan, 'control-plane', 'worker').length;
  const isKubeadm = plan.choices.distribution.value === 'kubeadm';
  // kubeadm runs CoreDNS twice.
  const dnsPods = isKubeadm && plan.kubernetes.dns === 'coredns' ? 2 : 1;
  await Promise.all([
    waitForPods(kubectl, namespace, { names }, boots, emit, signal),
    waitForPods(
      kubectl,
      'kube-system',
      { selector: 'k8s-app=kube-dns', count: dnsPods },
      boots,
      emit,
      signal,
    ),
    // With k3s kube-proxy is a part of k3s itself.
    ...(isKubeadm
      ? [
          waitForPods(
            kubectl,
            'kube-system',
            { selector: 'k8s-app=kube-proxy', count: nodes },
            boots,
            emit,
            signal,
          ),
        ]
      : []),
  ]);
}

async function waitForBgp(
  kubectl: Kubectl,
  plan: LabPlan,
  machines: ReadonlyMap<string, RemoteMachine>,
  emit: Emit,
  signal: AbortSignal | undefined,
): Promise<void> {
  await waitFor({
    what: 'every BGP session and route to be as planned',
    timeoutMs: TIMEOUTS.bgpEstablished,
    look: async () => {
      const endpoints = await readEndpoints(kubectl, plan);
      const observed = await observeBgp(plan, machines, signal);
      const wrong = checkBgp(plan, announcements(plan, endpoints), observed).filter(
        ({ verdict }) => verdict !== 'passed',
      );
      const [first] = wrong;
      return first === undefined
        ? { done: true, value: undefined }
        : {
            done: false,
            why: `${first.title}: ${first.observed}, not ${first.expected} (${wrong.length} wrong)`,
          };
    },
    next: 'npx labtest   (names every session and route that is wrong)',
    signal,
    emit,
  });
}

async function ensureSecrets(state: LabState, plan: LabPlan): Promise<Secrets> {
  const saved = await state.loadSecrets();
  if (saved !== undefined) return saved;
  const secrets = newSecrets(
    plan.lab,
    plan.machines.map(({ name }) => name),
  );
  await state.saveSecrets(secrets);
  return secrets;
}
