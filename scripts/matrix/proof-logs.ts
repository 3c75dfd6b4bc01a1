import type { Answer } from '../bgp/checks/ask.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
import { messageOf, rethrowIfInterrupted } from '../shared/errors.ts';

/** One connection or datagram in the log of an echo server (echo/echo_server.py). */
export interface LogEntry {
  readonly pod: string;
  readonly protocol: string;
  readonly server: string;
  readonly client: string;
  /** The first line of the payload. */
  readonly first: string;
}

/** Entries by the payload's first line. Connections without any payload are left out. */
export type ServerLogs = ReadonlyMap<string, readonly LogEntry[]>;

/** Machines' clocks may differ from this host's by this much, in milliseconds; an older log does no harm. */
const CLOCK_SKEW_MS = 30_000;
/** More pods than this in the namespace and kubectl refuses; its own default is 5. */
const MOST_LOGS = '500';
/** A label that no pod has: kubectl reads the logs of several pods only by a selector. */
const EVERY_POD = '!lab.internal/none';

/**
 * What every container of the namespace has logged since `started`, in one call. A pod whose log cannot be read is
 * passed over: whoever looks for a nonce must look for one that has to be there, too. Throws Interrupted on abort only.
 */
export async function readServerLogs(
  kubectl: Kubectl,
  namespace: string,
  started: Date,
  signal?: AbortSignal,
): Promise<Answer<ServerLogs>> {
  const since = new Date(started.getTime() - CLOCK_SKEW_MS).toISOString();
  const what = ['logs', '-n', namespace, '-l', EVERY_POD, '--all-containers', '--prefix', '--tail=-1'];
  const how = ['--since-time', since, '--ignore-errors', '--max-log-requests', MOST_LOGS];
  try {
    const { stdout } = await kubectl.run([...what, ...how], { signal });
    return { ok: true, value: parseServerLogs(stdout) };
  } catch (error) {
    rethrowIfInterrupted(error);
    return { ok: false, fault: 'harness', detail: messageOf(error) };
  }
}

const ENTRY =
  /^\[pod\/([^/]+)\/[^\]]+\] \S+ (tcp|udp) server=([\d.]+):\d+ client=([\d.]+:\d+) first="([^"]+)"/;

/** Reads `kubectl logs --prefix` of echo servers; other lines are passed over. */
export function parseServerLogs(text: string): ServerLogs {
  const logs = new Map<string, LogEntry[]>();
  for (const line of text.split('\n')) {
    const [, pod, protocol, server, client, first] = ENTRY.exec(line) ?? [];
    if (pod === undefined || protocol === undefined || server === undefined) continue;
    if (client === undefined || first === undefined) continue;
    logs.set(first, [...(logs.get(first) ?? []), { pod, protocol, server, client, first }]);
  }
  return logs;
}
