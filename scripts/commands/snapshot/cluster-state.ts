import { LAST_APPLIED } from '../../cluster/applied.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import { isReadyPod, type Pod } from '../../cluster/pods.ts';
import type { RunOptions } from '../../exec/executor.ts';
import { type Boots, isOlderThanBoot } from '../../workloads/apply.ts';

interface NodeObject {
  readonly kind: 'Node';
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastHeartbeatTime?: string;
    }[];
  };
}

interface PodObject extends Pod {
  readonly kind: 'Pod';
  readonly metadata: Pod['metadata'] & {
    readonly namespace: string;
    readonly ownerReferences?: readonly { readonly kind: string }[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Pod['spec'] & { readonly restartPolicy?: string };
}

/** All nodes and pods of a cluster. */
export interface NodesAndPods {
  readonly nodes: readonly NodeObject[];
  readonly pods: readonly PodObject[];
}

/** Reads them. */
export async function readNodesAndPods(kubectl: Kubectl, options: RunOptions = {}): Promise<NodesAndPods> {
  const { items } = await kubectl.json<{ readonly items: readonly (NodeObject | PodObject)[] }>(
    ['get', 'nodes,pods', '--all-namespaces'],
    options,
  );
  return {
    nodes: items.filter((each): each is NodeObject => each.kind === 'Node'),
    pods: items.filter((each): each is PodObject => each.kind === 'Pod'),
  };
}

/**
 * The nodes and pods that are not Ready, by name. With `boots` also those whose word is older than their node's boot: what
 * the API server says then is what it said when the snapshot was taken. Pods that have done their work are not meant to be;
 * static pods, the control plane's, say so seconds after they answer.
 */
export function unready({ nodes, pods }: NodesAndPods, boots?: Boots): readonly string[] {
  return [
    ...nodes
      .filter(({ metadata, status }) => {
        const ready = status.conditions?.find(({ type }) => type === 'Ready');
        const booted = boots?.get(metadata.name) ?? 0;
        return ready?.status !== 'True' || Date.parse(ready.lastHeartbeatTime ?? '') < booted;
      })
      .map(({ metadata }) => `node ${metadata.name}`),
    ...pods
      .filter(({ status, metadata }) => status.phase !== 'Succeeded' && !isStatic(metadata))
      .filter((pod) => !isReadyPod(pod) || (boots !== undefined && isOlderThanBoot(pod, boots)))
      .map(nameOf),
  ];
}

/** The pods that run and that nobody starts again once their node has been stopped: no controller's, and with another restartPolicy than Always. */
export function bareRunningPods({ pods }: NodesAndPods): readonly string[] {
  return pods
    .filter(
      ({ metadata, spec, status }) =>
        status.phase === 'Running' &&
        (spec.restartPolicy ?? 'Always') !== 'Always' &&
        (metadata.ownerReferences ?? []).length === 0,
    )
    .map(nameOf);
}

/** The pods of these names. */
export function podsNamed({ pods }: NodesAndPods, names: readonly string[]): readonly PodObject[] {
  return pods.filter((pod) => names.includes(nameOf(pod)));
}

/**
 * Makes pods again; right also where an earlier attempt has made some of them. What was applied is applied, as it was given
 * then: another kubectl apply would want to take away what the API server and kubelet have added. The rest is created.
 */
export async function recreatePods(kubectl: Kubectl, pods: readonly PodObject[]): Promise<void> {
  const given = ({ metadata }: PodObject) => metadata.annotations?.[LAST_APPLIED];
  const applied = pods.flatMap((pod) => given(pod) ?? []).map((text) => JSON.parse(text) as unknown);
  const created = pods.filter((pod) => given(pod) === undefined).map(manifestOf);
  // By force: nothing of them runs any more, and kubelets, which start only now, would be waited for (as replace does).
  const byForce = ['--force', '--grace-period', '0', '--wait=false', '--ignore-not-found'];
  for (const [words, items] of [
    [['delete', ...byForce], pods.map(manifestOf)],
    // The API server that they are from need not describe its objects for it.
    [['apply', '--validate=false'], applied],
    [['create', '--validate=false'], created],
  ] as const) {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    if (items.length > 0) await kubectl.run([...words, '-f', '-'], { input });
  }
}

/** Whether kubelet runs the pod from a file of its node. */
function isStatic({ ownerReferences = [] }: PodObject['metadata']): boolean {
  return ownerReferences.some(({ kind }) => kind === 'Node');
}

function manifestOf(pod: PodObject): unknown {
  const { name, namespace, labels, annotations } = pod.metadata;
  const { ephemeralContainers: _, ...spec } = pod.spec as Readonly<Record<string, unknown>>;
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels, annotations }, spec };
}

function nameOf({ metadata }: PodObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}
