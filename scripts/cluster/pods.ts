import type { Kubectl } from './kubectl.ts';

/** What a container is doing, as far as the lab reads it. */
export interface ContainerStatus {
  readonly name: string;
  readonly restartCount?: number;
  readonly state: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: { readonly startedAt: string };
    readonly terminated?: Ended;
  };
  readonly lastState?: { readonly terminated?: Ended };
}

interface Ended {
  readonly exitCode: number;
  readonly reason?: string;
}

/** `kubectl get pods -o json`, as far as the lab reads it. */
export interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly nodeName?: string };
    readonly status: {
      readonly phase: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
      readonly initContainerStatuses?: readonly ContainerStatus[];
      readonly containerStatuses?: readonly ContainerStatus[];
    };
  }[];
}

export type Pod = PodList['items'][number];

/** A container that has been started again this often and ends still will not heal by waiting: kubelet waits longer each time. */
const MAX_RESTARTS = 3;
/** How many pods are asked for their logs and events. */
const ASKED = 3;
const LINES = 5;

/** Whether the pod says that it is Ready. */
export function isReadyPod({ status }: Pod): boolean {
  return status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
}

/** Whether a container of the pod ends again and again. */
export function isCrashing(pod: Pod): boolean {
  return containersOf(pod).some(
    ({ state, restartCount = 0 }) =>
      state.waiting?.reason === 'CrashLoopBackOff' && restartCount >= MAX_RESTARTS,
  );
}

/** What keeps a pod from being Ready: what its containers wait for, or how they ended. */
export function reasonOf(pod: Pod): string {
  const container = troubledOf(pod);
  if (container === undefined) return pod.status.phase;
  const { name, state, lastState, restartCount = 0 } = container;
  const ended = state.terminated ?? lastState?.terminated;
  const how =
    ended === undefined
      ? []
      : [
          `container ${name} ended with exit code ${ended.exitCode}${ended.reason ? ` (${ended.reason})` : ''}`,
        ];
  const again = restartCount > 0 ? [`started again ${restartCount} times`] : [];
  const { waiting } = state;
  // The message of a back-off says no more than how long it is.
  const why = waiting?.reason === 'CrashLoopBackOff' ? waiting.reason : (waiting?.message ?? waiting?.reason);
  return [why ?? pod.status.phase, ...how, ...again].join(', ');
}

/** The pods of a selection that are not Ready. */
export async function unreadyPods(
  kubectl: Kubectl,
  namespace: string,
  selector: string,
): Promise<readonly Pod[]> {
  const { items } = await kubectl.json<PodList>(['get', 'pods', '-n', namespace, '--selector', selector]);
  return items.filter((pod) => !isReadyPod(pod));
}

interface EventList {
  readonly items: readonly { readonly type?: string; readonly reason?: string; readonly message?: string }[];
}

/** What pods say themselves: their last warnings, and the last lines of the container that does not run, or does not get ready. */
export async function explainPods(
  kubectl: Kubectl,
  namespace: string,
  pods: readonly Pod[],
): Promise<readonly string[]> {
  const said = await Promise.all(
    pods.slice(0, ASKED).map(async (pod): Promise<readonly string[]> => {
      const { name } = pod.metadata;
      const { items } = await kubectl.json<EventList>([
        ...['get', 'events', '-n', namespace, '--sort-by', '.metadata.creationTimestamp'],
        ...['--field-selector', `involvedObject.name=${name},type=Warning`],
      ]);
      const events = items.slice(-2).map(({ reason, message }) => `event of ${name}: ${reason}: ${message}`);
      return [...events, ...(await logOf(kubectl, namespace, pod))];
    }),
  );
  return said.flat();
}

async function logOf(kubectl: Kubectl, namespace: string, pod: Pod): Promise<readonly string[]> {
  const { name } = pod.metadata;
  const container = troubledOf(pod);
  if (container === undefined) return [];
  const hasEnded = container.state.running === undefined && container.lastState?.terminated !== undefined;
  const previous = hasEnded ? ['--previous'] : [];
  const argv = ['logs', '-n', namespace, name, '-c', container.name, '--tail', String(LINES), ...previous];
  // 1: it has not been started yet.
  const { stdout } = await kubectl.run(argv, { okCodes: [0, 1] });
  const lines = stdout.split('\n').filter((line) => line.trim() !== '');
  return lines.length === 0 ? [] : [`log of ${name}, container ${container.name}:`, ...lines];
}

/** The container that a pod waits for: one that waits or has ended; else one that was started again. */
function troubledOf(pod: Pod): ContainerStatus | undefined {
  const containers = containersOf(pod);
  const failed = ({ state }: ContainerStatus) => (state.terminated?.exitCode ?? 0) !== 0;
  return (
    containers.find(
      ({ state, lastState }) => state.waiting !== undefined && lastState?.terminated !== undefined,
    ) ??
    containers.find(failed) ??
    containers.find(({ state }) => state.waiting !== undefined) ??
    containers.find(({ restartCount = 0 }) => restartCount > 0)
  );
}

function containersOf({ status }: Pod): readonly ContainerStatus[] {
  return [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
}
