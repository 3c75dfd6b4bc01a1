import type { Kubectl } from '../cluster/kubectl.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

/** Applies manifests. Returns whether kubectl had to create or change an object. */
export async function applyManifests(kubectl: Kubectl, yaml: string): Promise<boolean> {
  const said = await kubectl.run(['apply', '-f', '-'], { input: yaml });
  return said
    .split('\n')
    .filter((line) => line !== '')
    .some((line) => !line.endsWith(' unchanged'));
}

/** Deletes pods that have ended: the echo pods are never restarted, so a node's reboot ends them. Returns whether any had. */
export async function removeEndedPods(kubectl: Kubectl, namespace: string): Promise<boolean> {
  const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace]);
  const ended = items.filter(({ status }) => ['Failed', 'Succeeded'].includes(status.phase));
  if (ended.length === 0) return false;
  await kubectl.run(['delete', 'pods', '-n', namespace, ...ended.map(({ metadata }) => metadata.name)]);
  return true;
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: {
      readonly phase: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
      readonly containerStatuses?: readonly {
        readonly state: { readonly waiting?: { readonly reason?: string; readonly message?: string } };
      }[];
    };
  }[];
}

/** Waits until the named pods of a namespace are Ready; with no names, until every pod there is and there is one. */
export async function waitForPods(
  kubectl: Kubectl,
  namespace: string,
  names: readonly string[],
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  await waitFor({
    what: `the pods of namespace ${namespace} to be Ready`,
    timeoutMs: TIMEOUTS.podsReady,
    look: async () => {
      const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace]);
      const pods = names.length === 0 ? items : items.filter(({ metadata }) => names.includes(metadata.name));
      const waiting = pods
        .filter((pod) => !isReady(pod))
        .map((pod) => `${pod.metadata.name} ${reasonOf(pod)}`);
      const absent = names.filter((name) => !pods.some(({ metadata }) => metadata.name === name));
      if (pods.length > 0 && waiting.length === 0 && absent.length === 0)
        return { done: true, value: undefined };
      return {
        done: false,
        why: [...waiting, ...absent.map((name) => `${name} is absent`)].join(', ') || 'no pods',
      };
    },
    next: `npx lab kubectl describe pods -n ${namespace}`,
    signal,
    emit,
  });
}

type Pod = PodList['items'][number];

function isReady({ status }: Pod): boolean {
  return status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}

function reasonOf({ status }: Pod): string {
  const waiting = status.containerStatuses?.find(({ state }) => state.waiting !== undefined)?.state.waiting;
  return waiting?.reason ?? status.phase;
}
