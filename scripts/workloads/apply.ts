import type { Kubectl } from '../cluster/kubectl.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

/**
 * Applies manifests. Returns whether kubectl had to create or change an object. A young API server refuses pods until
 * the controller manager has made the namespace's default service account, so refusals are waited out.
 */
export async function applyManifests(kubectl: Kubectl, yaml: string, signal?: AbortSignal): Promise<boolean> {
  let created = false;
  return waitFor({
    what: 'the API server to accept the manifests',
    timeoutMs: TIMEOUTS.apply,
    look: async () => {
      const said = await kubectl.run(['apply', '-f', '-'], { input: yaml, okCodes: [0, 1] });
      const verdicts = said.stdout.split('\n').filter((line) => line !== '');
      created ||= verdicts.some((line) => !line.endsWith(' unchanged'));
      if (said.exitCode === 0) return { done: true, value: created };
      return { done: false, why: said.stderr.trim().split('\n').at(-1) ?? 'refused' };
    },
    next: 'npx lab kubectl get events -A',
    signal,
  });
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

/** Which pods to wait for: by name, or by label selector with how many there must be. */
export type PodSet =
  | { readonly names: readonly string[] }
  | { readonly selector: string; readonly count: number };

/** Waits until all pods of a set are Ready. Throws LabFailure that tells each missing pod's state. */
export async function waitForPods(
  kubectl: Kubectl,
  namespace: string,
  set: PodSet,
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  const selection = 'names' in set ? [] : ['--selector', set.selector];
  await waitFor({
    what: `${'names' in set ? 'the pods' : set.selector} of namespace ${namespace} to be Ready`,
    timeoutMs: TIMEOUTS.podsReady,
    look: async () => {
      const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace, ...selection]);
      const missing = 'names' in set ? missingNames(items, set.names) : missingCount(items, set.count);
      return missing.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: missing.join(', ') };
    },
    next: `npx lab kubectl describe pods -n ${namespace}`,
    signal,
    emit,
  });
}

function missingNames(pods: PodList['items'], names: readonly string[]): readonly string[] {
  return names.flatMap((name) => {
    const pod = pods.find(({ metadata }) => metadata.name === name);
    if (pod === undefined) return [`${name} is absent`];
    return isReady(pod) ? [] : [`${name} ${reasonOf(pod)}`];
  });
}

function missingCount(pods: PodList['items'], count: number): readonly string[] {
  const waiting = pods.filter((pod) => !isReady(pod)).map((pod) => `${pod.metadata.name} ${reasonOf(pod)}`);
  const ready = pods.length - waiting.length;
  return ready >= count ? [] : [`${ready} of ${count} Ready`, ...waiting];
}

type Pod = PodList['items'][number];

function isReady({ status }: Pod): boolean {
  return status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}

function reasonOf({ status }: Pod): string {
  const waiting = status.containerStatuses?.find(({ state }) => state.waiting !== undefined)?.state.waiting;
  return waiting?.reason ?? status.phase;
}
