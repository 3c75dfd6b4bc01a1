import { type Answer, ask, type LeaveOut, read } from '../bgp/checks/ask.ts';
import type { Executor } from '../exec/executor.ts';
import { groupBy } from '../shared/group.ts';
import type { Cell, Observation } from './types.ts';

/** One entry of a machine's connection tracking table: what a client sent, and where answers are expected from and go to. */
export interface Flow {
  readonly protocol: string;
  readonly client: string;
  readonly clientPort: number;
  readonly destination: string;
  readonly port: number;
  /** The backend, or the destination itself where nothing is translated. */
  readonly backend: string;
  readonly backendPort: number;
  /** What the backend sees, or the client itself where nothing is translated. */
  readonly seen: string;
  readonly seenPort: number;
  /** How long the entry is kept: of two entries in the same state the newer one is kept longer. */
  readonly secondsLeft: number;
}

/** By machine name. */
export type FlowsByMachine = ReadonlyMap<string, Answer<readonly Flow[]>>;

/**
 * Reads `conntrack -L` of conntrack-tools 1.4: TCP and UDP, without other lines. Throws where every line is something
 * else.
 */
export function parseFlows(text: string, leaveOut: LeaveOut = () => {}): readonly Flow[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const flows = lines.flatMap((line): Flow[] => {
    const values = (key: string) =>
      line.split(' ').flatMap((word) => (word.startsWith(`${key}=`) ? [word.slice(key.length + 1)] : []));
    const [client, backend] = values('src');
    const [destination, seen] = values('dst');
    const [clientPort, backendPort] = values('sport').map(Number);
    const [port, seenPort] = values('dport').map(Number);
    const [, protocol = '', seconds] = /^(\w+)\s+\d+\s+(\d+) /.exec(line) ?? [];
    const secondsLeft = Number(seconds ?? 0);
    if (client === undefined || backend === undefined || destination === undefined || seen === undefined) {
      leaveOut(line);
      return [];
    }
    if (clientPort === undefined || backendPort === undefined) return [];
    if (port === undefined || seenPort === undefined) return [];
    return [
      { protocol, client, clientPort, destination, port, backend, backendPort, seen, seenPort, secondsLeft },
    ];
  });
  if (flows.length === 0 && lines.length > 0 && !lines.some((line) => line.includes(' src=')))
    throw new Error(`not a line of conntrack: ${lines[0]}`);
  return flows;
}

/** Asks machines for their connections, of one protocol or all. Throws Interrupted on abort only. */
export async function readFlows(
  machines: readonly string[],
  executors: ReadonlyMap<string, Executor>,
  { protocol, signal }: { readonly protocol?: 'udp'; readonly signal?: AbortSignal | undefined } = {},
): Promise<FlowsByMachine> {
  const list = ['conntrack', '-L', ...(protocol === undefined ? [] : ['-p', protocol])];
  const answers = await Promise.all(
    machines.map(async (name): Promise<[string, Answer<readonly Flow[]>][]> => {
      const executor = executors.get(name);
      if (executor === undefined) return [];
      const { flows } = await ask(executor, { flows: list }, { signal });
      return [[name, read(flows, parseFlows)]];
    }),
  );
  return new Map(answers.flat());
}

/**
 * What was seen, with backend and client address of those cells whose answer does not tell them: from the entries of the
 * machines that the connection passed, two where it was translated twice. A datagram without an answer has a backend only
 * where its machine, as `nodeOf` says, has the entry. Pure.
 */
export function withTracked(
  cells: readonly Cell[],
  seen: ReadonlyMap<string, Observation>,
  flows: FlowsByMachine,
  nodeOf: (address: string) => string | undefined,
): ReadonlyMap<string, Observation> {
  const entries = groupBy(
    [...flows].flatMap(([machine, answer]) =>
      (answer.ok ? answer.value : []).map((flow) => ({ machine, flow })),
    ),
    ({ flow }) => keyOf(flow.protocol, flow.client, flow.clientPort, flow.destination, flow.port),
  );
  const tracked = cells.flatMap(({ id, talk, protocol, port }): [string, Observation][] => {
    const observed = seen.get(id);
    const { localAddress, localPort, address } = observed?.trace ?? {};
    const isSilent = observed?.outcome === 'timeout' && protocol === 'udp';
    if (talk === undefined || observed === undefined || (observed.outcome !== 'ok' && !isSilent)) return [];
    if (localAddress == null || localPort == null || address == null) return [];
    let way = { client: localAddress, clientPort: localPort, destination: address, port };
    const passed = new Set<string>();
    for (;;) {
      const met = entries.get(keyOf(protocol, way.client, way.clientPort, way.destination, way.port)) ?? [];
      const fresh = met.filter(({ machine }) => !passed.has(machine));
      for (const { machine } of fresh) passed.add(machine);
      // Another machine may keep one of an earlier connection from the same port, which took another path.
      const [next] = fresh
        .map(({ flow }) => flow)
        .filter(isTranslated)
        .sort((one, other) => other.secondsLeft - one.secondsLeft);
      if (next === undefined) break;
      const { seen: client, seenPort: clientPort, backend: destination, backendPort } = next;
      way = { client, clientPort, destination, port: backendPort };
    }
    const node = nodeOf(way.destination);
    // The sender's own machine tracks what another one drops, too.
    const hasCome = node === undefined ? way.destination !== address : passed.has(node);
    const isKnown = passed.size > 0 && (!isSilent || hasCome);
    return isKnown ? [[id, { ...observed, server: way.destination, client: way.client }]] : [];
  });
  return new Map([...seen, ...tracked]);
}

function isTranslated({ client, destination, port, backend, backendPort, seen }: Flow): boolean {
  return client !== seen || destination !== backend || port !== backendPort;
}

function keyOf(protocol: string, client: string, clientPort: number, to: string, port: number): string {
  return `${protocol} ${client}:${clientPort}>${to}:${port}`;
}
