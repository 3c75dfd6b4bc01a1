import type { ChainStep } from '../types.ts';
import type { Packet, Reach } from './packet.ts';
import { answersStraight, answerWay } from './reach.ts';
import { ended, type Ways } from './ways.ts';
import type { World } from './world.ts';

/**
 * A node that forwards one direction of a TCP connection and never sees the other drops it: without the SYN-ACK its
 * conntrack takes what the client sends next for INVALID, without the SYN the SYN-ACK itself, and kube-proxy's
 * KUBE-FORWARD drops what is INVALID. Datagrams are not affected. Seen in network namespaces on kernel 6.18 for both
 * directions; net.netfilter.nf_conntrack_tcp_be_liberal makes no difference there, because it is about windows and not
 * about states (net/netfilter/nf_conntrack_proto_tcp.c, tcp_conntracks and tcp_in_window).
 */
export interface OneSided {
  /** A clause, with the node's name. */
  readonly reason: string;
  readonly step: ChainStep;
  /** False where chance decides whether the other direction passes the node. */
  readonly certain: boolean;
}

/** The machines on the ways of a packet: those on some of them, and those on all. */
interface OnTheWay {
  readonly some: ReadonlySet<string>;
  readonly all: ReadonlySet<string>;
}

/** The names on one way. */
function onOneWay(names: readonly string[]): OnTheWay {
  const set = new Set(names);
  return { some: set, all: set };
}

/** The machines that routes lead over, up to the first that is `until`, with both ends. */
export function onTheWay(way: Reach, until?: string): OnTheWay {
  if (way.at === until || way.next.length === 0) return onOneWay([way.at]);
  const ways = way.next.map((next) => onTheWay(next, until));
  const [first] = ways;
  return {
    some: new Set([way.at, ...ways.flatMap(({ some }) => [...some])]),
    all: new Set([
      way.at,
      ...[...(first?.all ?? [])].filter((name) => ways.every(({ all }) => all.has(name))),
    ]),
  };
}

/**
 * The first node that drops a connection because it sees one direction of it only; undefined where none does. `ends`: the
 * machines between which the packets are forwarded, which see both directions.
 */
export function findOneSided(
  world: World,
  there: OnTheWay,
  back: OnTheWay,
  ends: readonly string[],
): OneSided | undefined {
  const drops = (name: string) => !ends.includes(name) && world.machine(name)?.state.dropsInvalid === true;
  const only = (one: OnTheWay, other: OnTheWay) =>
    [...one.some]
      .filter((name) => drops(name) && !(other.all.has(name) && one.all.has(name)))
      .map((name) => ({ name, certain: one.all.has(name) && !other.some.has(name) }));
  const missed = [
    ...only(there, back).map((each) => ({ ...each, isBack: false })),
    ...only(back, there).map((each) => ({ ...each, isBack: true })),
  ];
  const found = missed.find(({ certain }) => certain) ?? missed[0];
  return found === undefined ? undefined : described(found.name, found.isBack, found.certain);
}

function described(at: string, isBack: boolean, certain: boolean): OneSided {
  const [seen, passes, lost] = isBack
    ? ['the answer', 'the first packet goes past it', 'the answer']
    : ['the way to the pod', 'the answer goes past it', 'what follows the first packet'];
  return {
    certain,
    reason: `${at} sees ${seen} alone, because ${passes}, and drops ${lost} as invalid (KUBE-FORWARD)`,
    step: {
      at,
      layer: 'rule',
      text: `KUBE-FORWARD --ctstate INVALID; ${passes}, so ${lost} is INVALID: dropped`,
      chains: ['KUBE-FORWARD'],
    },
  };
}

/**
 * What becomes of an answered connection, if the answers go from `name` to the packet's source by the routes that are
 * there: the same ways, or how they end.
 */
export function bothWays(world: World, name: string, packet: Packet, ways: Ways): Ways {
  const { source, forwarders, protocol } = packet;
  const machine = world.machine(name);
  if (protocol !== 'tcp' || ways.servers.length === 0 || machine === undefined) return ways;
  const sender = world.ownerOf(source) ?? world.nodeOf(source) ?? name;
  const ends = [name, sender];
  const isStraight = sender === name || answersStraight(world, name, source, sender);
  if (isStraight && forwarders.every((each) => ends.includes(each))) return ways;
  const way = answerWay(world, name, source);
  if (way === undefined) return ways;
  const found = findOneSided(world, onOneWay(forwarders), onTheWay(way), ends);
  return found === undefined ? ways : oneSidedEnd(found, ways);
}

/** How such a connection ends: without an answer, or as chance decides. */
function oneSidedEnd({ reason, step, certain }: OneSided, { servers, clients, steps }: Ways): Ways {
  const lost = ended('timeout', { text: reason, at: step.at }, [...steps, step]);
  return certain ? lost : { ...lost, servers, clients };
}
