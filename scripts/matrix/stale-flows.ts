import { type Answer, ask, type LeaveOut, read } from '../bgp/checks/ask.ts';
import { type Check, makeCheck, unseenCheck } from '../bgp/checks/check.ts';
import type { Executor } from '../exec/executor.ts';
import { type EchoService, externalAddresses } from './endpoints.ts';
import type { ObservedState } from './state/types.ts';

/** One UDP entry of a node's connection tracking table, as far as it says where the node sends a client's datagrams. */
export interface UdpFlow {
  readonly client: string;
  readonly clientPort: number;
  readonly destination: string;
  readonly port: number;
  /** Where answers are expected from: the backend, or the destination itself where nothing is translated. */
  readonly backend: string;
}

const FLOW_LINE = /^udp\s.*?\bsrc=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) (?:[^ ]+ )*?src=(\S+) /;

/** Reads `conntrack -L -p udp` of conntrack-tools 1.4, without other lines. Throws where every line is something else. */
export function parseUdpFlows(text: string, leaveOut: LeaveOut = () => {}): readonly UdpFlow[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const flows = lines.flatMap((line) => {
    const [, client = '', destination = '', clientPort, port, backend] = FLOW_LINE.exec(line) ?? [];
    if (backend !== undefined)
      return [{ client, clientPort: Number(clientPort), destination, port: Number(port), backend }];
    leaveOut(line);
    return [];
  });
  if (flows.length === 0 && lines.length > 0) throw new Error(`not a line of conntrack: ${lines[0]}`);
  return flows;
}

/** Asks every node for its UDP flows, by name. Throws Interrupted on abort only. */
export async function readUdpFlows(
  state: ObservedState,
  executors: ReadonlyMap<string, Executor>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Answer<readonly UdpFlow[]>>> {
  const answers = await Promise.all(
    state.nodes.map(async ({ name }): Promise<[string, Answer<readonly UdpFlow[]>][]> => {
      const executor = executors.get(name);
      if (executor === undefined) return [];
      const { flows } = await ask(executor, { flows: ['conntrack', '-L', '-p', 'udp'] }, { signal });
      return [[name, read(flows, parseUdpFlows)]];
    }),
  );
  return new Map(answers.flat());
}

/**
 * Whether a node still sends a client's datagrams to where no endpoint is. kube-proxy must remove such entries when an
 * endpoint goes (pkg/proxy/conntrack), because each datagram of the same client and port renews its entry: probes, which
 * use a fresh port each, never see what that client sees.
 */
export function checkStaleFlows(
  state: ObservedState,
  flows: ReadonlyMap<string, Answer<readonly UdpFlow[]>>,
): readonly Check[] {
  return [...flows].map(([machine, answer]): Check => {
    const wanted = { stale: 0 };
    if (!answer.ok) return unseenCheck('udp-flows', { machine }, wanted, { ...answer, fault: 'harness' });
    const stale = answer.value.flatMap((flow) => {
      const service = lostService(state, flow);
      return service === undefined ? [] : [{ ...flow, service }];
    });
    const { unread = [] } = answer;
    const [verdict, reason] =
      stale.length > 0
        ? (['failed', 'stale'] as const)
        : unread.length > 0
          ? (['skipped', 'partly-read'] as const)
          : (['passed', 'as-wanted'] as const);
    const seen = { flows: answer.value.length, stale, unread };
    return makeCheck('udp-flows', { machine }, { verdict, reason, wanted, seen });
  });
}

/** The service that a flow is for, where the flow goes to none of its endpoints. */
function lostService(state: ObservedState, { destination, port, backend }: UdpFlow): string | undefined {
  const service = state.services.find((each) => serves(state, each, destination, port));
  const isServed = backend === destination || service?.endpoints.some(({ ip }) => ip === backend);
  return isServed ? undefined : service?.name;
}

function serves(state: ObservedState, service: EchoService, address: string, port: number): boolean {
  const isNode = state.nodes.some(({ addresses }) => addresses.includes(address));
  const own = [
    ...(service.clusterIp === undefined ? [] : [service.clusterIp]),
    ...externalAddresses(service),
  ];
  return service.ports.some(
    (each) =>
      each.protocol === 'udp' &&
      ((each.port === port && own.includes(address)) || (each.nodePort === port && isNode)),
  );
}
