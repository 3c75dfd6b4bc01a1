import type { Sightings } from '../../scripts/diagnostics/flow.ts';
import { blind, type Packet, type RouteAnswer, type Watched } from '../../scripts/diagnostics/watch.ts';
import { parseCounters } from '../../scripts/matrix/proof-counters.ts';
import type { Evidence } from '../../scripts/matrix/types.ts';
import { describeEvidence } from '../../scripts/report/cell-text.ts';

/** What a reader is told of it. */
export function sentenceOf(evidence: Evidence | undefined): string | undefined {
  return evidence === undefined ? undefined : describeEvidence(evidence);
}

/** "192.0.2.1:20001 > 10.0.0.1:1234". */
type Ends = string;

function endsOf(text: Ends) {
  const [source = '', destination = ''] = text.split(' > ');
  const [from = '', fromPort] = source.split(':');
  const [to = '', toPort] = destination.split(':');
  return { source: from, sourcePort: Number(fromPort), destination: to, port: Number(toPort) };
}

/** A SYN at an interface, "eth0 in", or with its sender "eth0 in router". */
export function syn(where: string, ends: Ends, sequence = 7): Packet {
  return {
    ...place(where),
    protocol: 'tcp',
    ...endsOf(ends),
    sequence,
    acknowledges: 0,
    flags: 'S',
    bytes: 0,
  };
}

/** What comes back for a SYN: SA, AR, or with `bytes` the first payload. */
export function back(where: string, ends: Ends, flags = 'SA', bytes = 0, sequence = 7): Packet {
  return {
    ...place(where),
    protocol: 'tcp',
    ...endsOf(ends),
    sequence: 900,
    acknowledges: sequence + 1,
    flags,
    bytes,
  };
}

/** A datagram with this last line. */
export function datagram(where: string, ends: Ends, line = 'nonce'): Packet {
  return { ...place(where), protocol: 'udp', ...endsOf(ends), line };
}

/** An ICMP message of type 3 about a packet. */
export function unreachable(where: string, source: string, code: number, about: Packet): Packet {
  if (about.protocol === 'icmp') throw new Error('no message about a message');
  return { ...place(where), protocol: 'icmp', source, destination: about.source, type: 3, code, about };
}

function place(where: string): Pick<Packet, 'ms' | 'interface' | 'direction' | 'sender'> {
  const [name = '', direction, sender = ''] = where.split(' ');
  return { ms: 1, interface: name, direction: direction === 'out' ? 'out' : 'in', sender };
}

export interface Machine {
  readonly packets?: readonly Packet[];
  /** Rules that matched so many packets meanwhile, as "TABLE -A CHAIN ...". */
  readonly moved?: Readonly<Record<string, number>>;
  readonly routes?: Readonly<Record<string, RouteAnswer>>;
  readonly conntrack?: readonly string[];
  readonly problems?: readonly string[];
}

/** What every machine saw; its name is its link-layer address. */
export function sightings(machines: Readonly<Record<string, Machine>>): Sightings {
  return new Map(
    Object.entries(machines).map(([name, machine]) => [name, { ...watchedBy(machine), own: [name] }]),
  );
}

function watchedBy({
  packets = [],
  moved = {},
  routes = {},
  conntrack = [],
  problems = [],
}: Machine): Watched {
  const rules = (count: (packets: number) => number) =>
    Object.entries(moved).flatMap(([rule, packets]) => {
      const table = rule.split(' ')[0] ?? '';
      return parseCounters(`*${table}\n[${count(packets)}:0] ${rule.slice(table.length + 1)}`);
    });
  return {
    ...blind(''),
    problems,
    packets,
    routes,
    conntrack,
    before: rules(() => 100),
    after: rules((packets) => 100 + packets),
  };
}
