import type { Protocol } from '../types.ts';
import type { NetworkState, OneSided, Trace } from './types.ts';

/** The machines that a packet passes: those on some of its paths, and those on all. */
interface Passed {
  readonly some: ReadonlySet<string>;
  readonly all: ReadonlySet<string>;
}

/** The machines of one path. */
export function onePath(names: readonly string[]): Passed {
  const set = new Set(names);
  return { some: set, all: set };
}

/** The machines that routes lead over, up to the first that is `until`, with both ends. */
export function passedBy(trace: Trace, until?: string): Passed {
  if (trace.at === until || trace.next.length === 0) return onePath([trace.at]);
  const paths = trace.next.map((next) => passedBy(next, until));
  const [first] = paths;
  return {
    some: new Set([trace.at, ...paths.flatMap(({ some }) => [...some])]),
    all: new Set([
      trace.at,
      ...[...(first?.all ?? [])].filter((name) => paths.every(({ all }) => all.has(name))),
    ]),
  };
}

/**
 * The first node that drops a connection because it sees one direction of it only; undefined where none does. `ends`: the
 * machines between which the packets are forwarded, which see both directions.
 *
 * Without the SYN-ACK a node's conntrack takes what the client of a TCP connection sends next for INVALID, without the SYN
 * the SYN-ACK itself, and kube-proxy's KUBE-FORWARD drops what is INVALID. So it does with the answer to a ping without the
 * request, but every request is new. Datagrams are not affected. Seen in network
 * namespaces on kernel 6.18 for both directions; net.netfilter.nf_conntrack_tcp_be_liberal makes no difference there,
 * because it is about windows and not about states (net/netfilter/nf_conntrack_proto_tcp.c, tcp_conntracks and
 * tcp_in_window).
 */
export function findOneSided(
  network: NetworkState,
  request: Passed,
  answer: Passed,
  ends: readonly string[],
  protocol: Protocol,
): OneSided | undefined {
  const drops = (name: string) => !ends.includes(name) && network.machine(name)?.state.dropsInvalid === true;
  const only = (one: Passed, other: Passed, sees: OneSided['sees']): OneSided[] =>
    [...one.some]
      .filter((name) => drops(name) && !(other.all.has(name) && one.all.has(name)))
      .map((machine) => ({ machine, sees, certain: one.all.has(machine) && !other.some.has(machine) }));
  const requests = protocol === 'icmp' ? [] : only(request, answer, 'request');
  const found = [...requests, ...only(answer, request, 'answer')];
  return found.find(({ certain }) => certain) ?? found[0];
}
