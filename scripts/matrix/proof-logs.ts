import pLimit from 'p-limit';
import type { Answer } from '../bgp/checks/ask.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
import { messageOf, rethrowIfInterrupted } from '../shared/errors.ts';

/** One connection or datagram in the log of an echo server (echo/echo_server.py). */
export interface LogEntry {
  readonly pod: string;
  readonly server: string;
  readonly client: string;
}

/** Entries by the payload's first line. Connections without any payload are left out. */
export type ServerLogs = ReadonlyMap<string, readonly LogEntry[]>;

/** Machines' clocks may differ from this host's by this much, in milliseconds; an older log does no harm. */
const CLOCK_SKEW_MS = 30_000;
/** How many logs are read at once. */
const AT_ONCE = 16;

interface PodNames {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly containers: readonly { readonly name: string }[] };
  }[];
}

/**
 * What every container of the namespace has logged since `started`. A container whose log cannot be read is passed over:
 * whoever looks for a nonce must look for one that has to be there, too. Throws Interrupted on abort only.
 */
export async function readServerLogs(
  kubectl: Kubectl,
  namespace: string,
  started: Date,
  signal?: AbortSignal,
): Promise<Answer<ServerLogs>> {
  const since = new Date(started.getTime() - CLOCK_SKEW_MS).toISOString();
  const limit = pLimit(AT_ONCE);
  // One by one, as `kubectl logs` for many pods reads them, those of twenty workers took 6 s.
  const read = async (pod: string, container: string) => {
    const query = new URLSearchParams({ container, sinceTime: since });
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`;
    const { exitCode, stdout } = await kubectl.run(['get', '--raw', path], { okCodes: [0, 1], signal });
    return exitCode === 0 ? stdout.replace(/^(?=.)/gm, `[pod/${pod}/${container}] `) : '';
  };
  try {
    const { items } = await kubectl.json<PodNames>(['get', 'pods', '-n', namespace], { signal });
    const logs = await Promise.all(
      items.flatMap(({ metadata, spec }) =>
        spec.containers.map(({ name }) => limit(() => read(metadata.name, name))),
      ),
    );
    return { ok: true, value: parseServerLogs(logs.join('\n')) };
  } catch (error) {
    rethrowIfInterrupted(error);
    return { ok: false, fault: 'harness', detail: messageOf(error) };
  }
}

const ENTRY =
  /^\[pod\/([^/]+)\/[^\]]+\] \S+ (?:tcp|udp) server=([\d.]+):\d+ client=([\d.]+:\d+) first="([^"]+)"/;

/** Reads the logs of echo servers, as `kubectl logs --prefix` prints them; other lines are passed over. */
export function parseServerLogs(text: string): ServerLogs {
  const logs = new Map<string, LogEntry[]>();
  for (const line of text.split('\n')) {
    const [, pod, server, client, first] = ENTRY.exec(line) ?? [];
    if (pod === undefined || server === undefined) continue;
    if (client === undefined || first === undefined) continue;
    logs.set(first, [...(logs.get(first) ?? []), { pod, server, client }]);
  }
  return logs;
}
