import type { RemoteMachine } from '../exec/ssh.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';
import type { Kubectl } from './kubectl.ts';
import { nodeReasons } from './node-reasons.ts';

interface NodeList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly podCIDR?: string };
    readonly status: {
      readonly addresses?: readonly { readonly type: string; readonly address: string }[];
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly message?: string;
      }[];
    };
  }[];
}

/** Gives every node object the pod block of the plan (the controller manager allocates none). Returns whether one lacked it. */
export async function ensurePodBlocks(kubectl: Kubectl, plan: LabPlan): Promise<boolean> {
  const { items } = await kubectl.json<NodeList>(['get', 'nodes']);
  const missing = items.flatMap(({ metadata, spec }) => {
    const machine = plan.machines.find(({ name }) => name === metadata.name);
    return machine === undefined || spec.podCIDR !== undefined ? [] : [machine];
  });
  if (missing.length === 0) return false;
  // One kubectl for all: 21 of them at once took 18 s on two processors.
  const nodes = missing.map(({ name, podBlock }) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDR: podBlock, podCIDRs: [podBlock] },
  }));
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: nodes });
  await kubectl.run(['apply', '--server-side', '-f', '-'], { input });
  return true;
}

/**
 * Removes the objects of nodes that no machine runs any more: kubeadm refuses a name that is Ready in the cluster, and k3s
 * lets no other machine have it (https://docs.k3s.io/architecture#how-agent-node-registration-works). Their pods go first,
 * which would pass for pods of the node that takes the name next.
 */
export async function removeDeadNodes(kubectl: Kubectl, names: readonly string[], emit: Emit): Promise<void> {
  const { items } = await kubectl.json<NodeList>(['get', 'nodes']);
  const dead = names.filter((name) => items.some(({ metadata }) => metadata.name === name));
  const force = ['--force', '--grace-period', '0'];
  const remove = async (name: string) => {
    emit({ type: 'note', text: `removing node ${name} of an earlier join from the cluster` });
    await kubectl.run([
      ...['delete', 'pods', '--all-namespaces', '--field-selector', `spec.nodeName=${name}`, ...force],
    ]);
    await kubectl.run(['delete', 'node', name, '--ignore-not-found']);
  };
  await Promise.all(dead.map(remove));
}

/** Waits until the API server says that it is ready. */
export async function waitForApi(
  kubectl: Kubectl,
  emit: Emit,
  signal?: AbortSignal,
  explain?: () => Promise<readonly string[]>,
): Promise<void> {
  await waitFor({
    what: 'the API server to be ready',
    timeoutMs: TIMEOUTS.apiServer,
    look: async () => {
      const { exitCode, stderr } = await kubectl.run(['get', '--raw', '/readyz'], { okCodes: [0, 1] });
      if (exitCode === 0) return { done: true, value: undefined };
      // Of some thirty checks those that fail.
      const failing = [...stderr.matchAll(/\[-\](\S+) failed/g)].map(([, check]) => check);
      return { done: false, why: failing.length > 0 ? `not yet: ${failing.join(', ')}` : stderr.trim() };
    },
    ...(explain === undefined ? {} : { explain }),
    next: 'npx lab status   (names the control plane; its log: npx lab logs NAME)',
    signal,
    emit,
  });
}

/** Waits until the kubelets of these machines have registered as nodes. */
export async function waitForNodeObjects(
  kubectl: Kubectl,
  machines: readonly RemoteMachine[],
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  let missing = machines;
  await waitFor({
    what: 'all workers to be nodes of the cluster',
    timeoutMs: TIMEOUTS.nodesReady,
    look: async () => {
      const { items } = await kubectl.json<NodeList>(['get', 'nodes']);
      missing = machines.filter(({ name }) => items.every(({ metadata }) => metadata.name !== name));
      return missing.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: `not yet: ${missing.map(({ name }) => name).join(', ')}` };
    },
    explain: async () => (missing[0] === undefined ? [] : nodeReasons(missing[0])),
    next: 'npx lab kubectl get nodes',
    signal,
    emit,
  });
}

/** Waits until every node of the plan is registered, with the plan's address, and Ready. */
export async function waitForNodes(
  kubectl: Kubectl,
  plan: LabPlan,
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  const wanted = machinesOf(plan, 'control-plane', 'worker');
  await waitFor({
    what: 'all nodes to be Ready',
    timeoutMs: TIMEOUTS.nodesReady,
    look: async () => {
      const { items } = await kubectl.json<NodeList>(['get', 'nodes']);
      const ready = items
        .filter(({ status }) =>
          status.conditions?.some((each) => each.type === 'Ready' && each.status === 'True'),
        )
        .map(({ metadata, status }) => {
          const internal = status.addresses?.find(({ type }) => type === 'InternalIP');
          return { name: metadata.name, address: internal?.address };
        });
      const missing = wanted
        .filter(({ name, address }) => {
          const node = ready.find((each) => each.name === name);
          // A node whose machine has moved is Ready for a while at its old address.
          return node === undefined || (node.address !== undefined && node.address !== address);
        })
        .map(({ name }) => {
          const { status } = items.find(({ metadata }) => metadata.name === name) ?? {};
          const said = status?.conditions?.find(({ type, status: is }) => type === 'Ready' && is !== 'True');
          return said?.message ? `${name} (${said.message})` : name;
        });
      return missing.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: `not yet: ${missing.join(', ')}` };
    },
    next: 'npx lab kubectl describe nodes',
    signal,
    emit,
  });
}
