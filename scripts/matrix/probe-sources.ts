import type { Executor } from '../exec/executor.ts';
import { PROBE_TIMEOUT_MS } from './probe-protocol.ts';

/**
 * A place where the probe can be run. `run` rejects where the probe could not be run to its end; `lastBegins` is when the
 * last cell of the input begins, in milliseconds after the first.
 */
export interface ProbeSource {
  readonly name: string;
  run(input: string, onLine: (line: string) => void, lastBegins?: number): Promise<void>;
}

/** The longest a probe run may take, in milliseconds: a name, a connection and a conversation, and slow start-up. */
const PROBE_RUN_TIMEOUT_MS = PROBE_TIMEOUT_MS * 3 + 15_000;

/**
 * A source where `argv` runs probe.py: on a machine ['python3', '/path/probe.py'], for a pod
 * `podProbe(...)` on whatever runs kubectl.
 */
export function machineSource(
  name: string,
  executor: Executor,
  argv: readonly string[],
  signal?: AbortSignal,
): ProbeSource {
  return {
    name,
    run: async (input, onLine, lastBegins = 0) => {
      await executor.run(argv, { input, onLine, signal, timeoutMs: PROBE_RUN_TIMEOUT_MS + lastBegins });
    },
  };
}

/** The command that runs the probe in a pod, standard input passed through. */
export function podProbe(
  kubectl: readonly string[],
  pod: { readonly namespace: string; readonly name: string },
  argv: readonly string[],
): readonly string[] {
  return [...kubectl, 'exec', '-i', '-n', pod.namespace, pod.name, '--', ...argv];
}
