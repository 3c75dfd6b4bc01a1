import { parseAllDocuments } from 'yaml';
import { isApplied } from '../cluster/applied.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
import { explainPods, isCrashing, isReadyPod, type Pod, type PodList, reasonOf } from '../cluster/pods.ts';
import type { Emit } from '../shared/events.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';

/** What a young API server says of pods until the controller manager has made their namespace's service account. */
const NO_ACCOUNT = /error looking up service account ([^/\s]+)\/default:/;

/**
 * Applies manifests. Returns whether kubectl had to create or change an object. How long the API server may refuse them
 * counts from when the controller manager runs, which is waited for apart.
 */
export async function applyManifests(kubectl: Kubectl, yaml: string, signal?: AbortSignal): Promise<boolean> {
  if (await isApplied(kubectl, yaml)) return false;
  let created = false;
  const apply = (mayLackAccount: boolean) =>
    waitFor<{ readonly namespace?: string | undefined }>({
      what: 'the API server to accept the manifests',
      timeoutMs: TIMEOUTS.apply,
      look: async () => {
        const said = await kubectl.run(['apply', '-f', '-'], { input: yaml, okCodes: [0, 1] });
        const verdicts = said.stdout.split('\n').filter((line) => line !== '');
        created ||= verdicts.some((line) => !line.endsWith(' unchanged'));
        if (said.exitCode === 0) return { done: true, value: {} };
        const namespace = NO_ACCOUNT.exec(said.stderr)?.[1];
        if (mayLackAccount && namespace !== undefined) return { done: true, value: { namespace } };
        return { done: false, why: said.stderr.trim().split('\n').at(-1) ?? 'refused' };
      },
      next: 'npx lab kubectl get events -A',
      signal,
    });
  const { namespace } = await apply(true);
  if (namespace === undefined) return created;
  await waitFor({
    what: `the controller manager to make the service account "default" of namespace ${namespace}`,
    timeoutMs: TIMEOUTS.controllerManager,
    look: async () => {
      await kubectl.run(['get', 'serviceaccount', 'default', '-n', namespace]);
      return { done: true, value: undefined };
    },
    next: 'npx lab kubectl get pods -n kube-system; npx lab kubectl get events -A',
    signal,
  });
  await apply(false);
  return created;
}

/** The label of the services that labup made, so that it takes none away that somebody else added to the lab. */
const MANAGED = 'app.kubernetes.io/managed-by=labup';

/** Deletes labup's services that the manifests no longer name: those of the other variant. Returns whether any were there. */
export async function removeOtherServices(
  kubectl: Kubectl,
  namespace: string,
  yaml: string,
): Promise<boolean> {
  const { items } = await kubectl.json<{ items: readonly { metadata: { name: string } }[] }>([
    ...['get', 'services', '-n', namespace, '--selector', MANAGED],
  ]);
  const wanted = parseAllDocuments(yaml)
    .filter((document) => document.get('kind') === 'Service')
    .map((document) => document.getIn(['metadata', 'name']));
  const others = items.map(({ metadata }) => metadata.name).filter((name) => !wanted.includes(name));
  if (others.length === 0) return false;
  await kubectl.run(['delete', 'services', '-n', namespace, ...others]);
  return true;
}

interface ServiceList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly type: string; readonly externalIPs?: readonly string[] };
    readonly status?: {
      readonly loadBalancer?: { readonly ingress?: readonly unknown[] };
    };
  }[];
}

/** Waits until labup's LoadBalancer services have their addresses, from whoever gives them. */
export async function waitForAddresses(
  kubectl: Kubectl,
  namespace: string,
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  await waitFor({
    what: `the LoadBalancer services of namespace ${namespace} to get their addresses`,
    timeoutMs: TIMEOUTS.podsReady,
    look: async () => {
      const { items } = await kubectl.json<ServiceList>([
        ...['get', 'services', '-n', namespace, '--selector', MANAGED],
      ]);
      const pending = items.filter(
        ({ spec, status }) =>
          spec.type === 'LoadBalancer' &&
          spec.externalIPs === undefined &&
          (status?.loadBalancer?.ingress ?? []).length === 0,
      );
      return pending.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: `${pending.map(({ metadata }) => metadata.name).join(', ')} pending` };
    },
    next: `npx lab kubectl describe services -n ${namespace}   (their events say why one is pending)`,
    signal,
    emit,
  });
}

/** When each node booted, in milliseconds since 1970. */
export type Boots = ReadonlyMap<string, number>;

/**
 * Deletes pods that have ended, or whose containers are older than their node's last boot and so ended with it without
 * kubelet having said so yet: the echo pods are never restarted. Returns whether there were any.
 */
export async function removeEndedPods(kubectl: Kubectl, namespace: string, boots: Boots): Promise<boolean> {
  const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace]);
  const ended = items.filter(
    (pod) => ['Failed', 'Succeeded'].includes(pod.status.phase) || isOlderThanBoot(pod, boots),
  );
  if (ended.length === 0) return false;
  const names = ended.map(({ metadata }) => metadata.name);
  // By force: nothing of them runs any more, and kubelet 1.20 may wait for ever to finish a pod that a reboot ended.
  await kubectl.run(['delete', 'pods', '-n', namespace, '--grace-period', '0', '--force', ...names]);
  return true;
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
  boots: Boots,
  emit: Emit,
  signal?: AbortSignal,
): Promise<void> {
  const selection = 'names' in set ? [] : ['--selector', set.selector];
  let unready: readonly Pod[] = [];
  await waitFor({
    what: `${'names' in set ? 'the pods' : set.selector} of namespace ${namespace} to be Ready`,
    timeoutMs: TIMEOUTS.podsReady,
    look: async () => {
      const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace, ...selection]);
      const missing =
        'names' in set ? missingNames(items, set.names, boots) : missingCount(items, set.count, boots);
      unready = items.filter(
        (pod) => ('selector' in set || set.names.includes(pod.metadata.name)) && !isReady(pod, boots),
      );
      return missing.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: missing.join(', '), hopeless: unready.some(isCrashing) };
    },
    explain: () => explainPods(kubectl, namespace, unready),
    next: `npx lab kubectl describe pods -n ${namespace}`,
    signal,
    emit,
  });
}

function missingNames(pods: PodList['items'], names: readonly string[], boots: Boots): readonly string[] {
  return names.flatMap((name) => {
    const pod = pods.find(({ metadata }) => metadata.name === name);
    if (pod === undefined) return [`${name} is absent`];
    return isReady(pod, boots) ? [] : [`${name} ${reasonOf(pod)}`];
  });
}

function missingCount(pods: PodList['items'], count: number, boots: Boots): readonly string[] {
  const waiting = pods
    .filter((pod) => !isReady(pod, boots))
    .map((pod) => `${pod.metadata.name} ${reasonOf(pod)}`);
  const ready = pods.length - waiting.length;
  return ready >= count ? [] : [`${ready} of ${count} Ready`, ...waiting];
}

function isReady(pod: Pod, boots: Boots): boolean {
  return isReadyPod(pod) && !isOlderThanBoot(pod, boots);
}

/** Whether containers of a pod have been started before the last boot of its node, and so ended with it. */
export function isOlderThanBoot({ spec, status }: Pod, boots: Boots): boolean {
  const booted = boots.get(spec.nodeName ?? '');
  const started = status.containerStatuses?.flatMap(({ state }) => state.running?.startedAt ?? []) ?? [];
  // startedAt has whole seconds, and the boot time is a difference of two such.
  return booted !== undefined && started.some((time) => Date.parse(time) < booted - 2000);
}
