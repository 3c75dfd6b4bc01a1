import type { FlowPacket, Packet, Watched } from './watch.ts';

/** Everything that was seen, by machine name. */
export type Sightings = ReadonlyMap<string, Watched>;

/** One machine on the way of a flow: where the packet came in and went out; absent where it did not. */
export interface Visit {
  readonly machine: string;
  readonly arrived?: FlowSighting;
  readonly left?: FlowSighting;
}

/** A packet of the flow at one interface. */
export type FlowSighting = Packet & FlowPacket;

/** What became of one attempt: the way of its first packet, and that of the answer. */
export interface Story {
  readonly forward: readonly Visit[];
  readonly answer: readonly Visit[];
  /** The first packet that came back, wherever it was seen first. */
  readonly reply?: FlowSighting;
  /** ICMP messages about it, with the machine that sent them. */
  readonly errors: readonly { readonly machine: string; readonly message: IcmpSighting }[];
}

export type IcmpSighting = Extract<Packet, { protocol: 'icmp' }>;

/** How an attempt is recognised. */
export interface FlowMark {
  /** The machine that the flow starts on; for a pod its node. */
  readonly origin: string;
  readonly protocol: 'tcp' | 'udp';
  readonly sourcePort: number;
  /** Ports that it can be addressed to, before and after translation. */
  readonly ports: readonly number[];
  /** The line that was sent; null where none was. */
  readonly nonce: string | null;
}

/**
 * Puts the way of one attempt together from what every machine saw. A packet is the same wherever TCP's sequence number
 * or UDP's payload is: neither changes where addresses and ports are translated. Pure.
 */
export function followFlow(mark: FlowMark, sightings: Sightings): Story {
  const isFirst = firstPackets(mark, sightings);
  if (isFirst === undefined) return { forward: [{ machine: mark.origin }], answer: [], errors: [] };
  const isReply = repliesTo(mark, isFirst.sequence);
  const forward = walk(mark.origin, sightings, isFirst.matches);
  const answering = new Set(
    [...sightings].flatMap(([machine, { packets }]) =>
      packets.filter(isFlow).some(isReply) ? [machine] : [],
    ),
  );
  const errors = [...sightings].flatMap(([machine, { packets }]) =>
    packets
      .filter(isIcmp)
      .filter(({ about, direction }) => direction === 'out' && isFirst.matches(about))
      .map((message) => ({ machine, message })),
  );
  const start = forward.findLast(({ machine }) => answering.has(machine));
  const answer = start === undefined ? [] : walk(start.machine, sightings, isReply);
  const reply = answer[0]?.arrived ?? answer[0]?.left;
  return {
    forward,
    answer,
    ...(reply === undefined ? {} : { reply }),
    errors,
  };
}

function isFlow(packet: Packet): packet is FlowSighting {
  return packet.protocol !== 'icmp';
}

function isIcmp(packet: Packet): packet is IcmpSighting {
  return packet.protocol === 'icmp';
}

interface First {
  readonly matches: (packet: FlowPacket) => boolean;
  /** TCP only. */
  readonly sequence: number;
}

/** How the flow's first packet is recognised everywhere; undefined where it was not seen leaving. */
function firstPackets(mark: FlowMark, sightings: Sightings): First | undefined {
  const { protocol, ports, nonce } = mark;
  if (protocol === 'udp') {
    if (nonce === null) return undefined;
    const matches = (packet: FlowPacket) =>
      packet.protocol === 'udp' && ports.includes(packet.port) && packet.line === nonce;
    // An ICMP message may quote no more than the header: then the source port has to do.
    const quoted = (packet: FlowPacket) =>
      matches(packet) ||
      (packet.protocol === 'udp' && packet.line === '' && packet.sourcePort === mark.sourcePort);
    return { matches: quoted, sequence: 0 };
  }
  const sequence = synOf(mark, sightings.get(mark.origin))?.sequence;
  if (sequence === undefined) return undefined;
  const matches = (packet: FlowPacket) =>
    packet.protocol === 'tcp' &&
    ports.includes(packet.port) &&
    packet.sequence === sequence &&
    // What an ICMP message quotes has no flags where only 8 bytes of TCP are in it.
    (packet.flags === 'S' || packet.flags === '');
  return { matches, sequence };
}

function synOf({ sourcePort, ports }: FlowMark, watched: Watched | undefined) {
  const syns = (watched?.packets ?? []).flatMap((packet) =>
    packet.protocol === 'tcp' && packet.flags === 'S' && ports.includes(packet.port) ? [packet] : [],
  );
  const translated = translatedPorts(watched?.conntrack ?? [], sourcePort);
  return (
    syns.find((packet) => packet.sourcePort === sourcePort) ??
    syns.find((packet) => translated.includes(packet.sourcePort))
  );
}

const CONNTRACK_LINE = /sport=(\d+) dport=\d+ .*?src=\S+ dst=\S+ sport=\d+ dport=(\d+)/;

/** The ports that a machine's masquerading has put in place of its own connection's source port. */
function translatedPorts(conntrack: readonly string[], sourcePort: number): readonly number[] {
  return conntrack.flatMap((line) => {
    const [, original, answered] = CONNTRACK_LINE.exec(line) ?? [];
    return Number(original) === sourcePort && answered !== undefined ? [Number(answered)] : [];
  });
}

function repliesTo({ protocol, ports, nonce }: FlowMark, sequence: number) {
  const acknowledged = (sequence + 1) % 2 ** 32;
  return (packet: FlowPacket): boolean => {
    if (packet.protocol !== protocol || !ports.includes(packet.sourcePort)) return false;
    if (packet.protocol === 'udp') return packet.line === nonce;
    return packet.acknowledges === acknowledged && /^(SA|AR)$/.test(packet.flags);
  };
}

/**
 * The machines that a packet passes, from the first one on: out of one and into the next. Addresses and ports alone do not
 * tell which one is next, for a router changes neither: the sender's link-layer address does.
 */
function walk(
  start: string,
  sightings: Sightings,
  matches: (packet: FlowPacket) => boolean,
): readonly Visit[] {
  const at = (machine: string): readonly FlowSighting[] =>
    (sightings.get(machine)?.packets ?? []).filter(isFlow).filter(matches);
  const visits: Visit[] = [];
  let machine: string | undefined = start;
  let arrived: FlowSighting | undefined = at(start).find(({ direction }) => direction === 'in');
  while (machine !== undefined) {
    // What leaves by lo comes in again on the same machine.
    const left: FlowSighting | undefined = at(machine).find(
      (each) => each.direction === 'out' && each.interface !== 'lo',
    );
    visits.push({
      machine,
      ...(arrived === undefined ? {} : { arrived }),
      ...(left === undefined ? {} : { left }),
    });
    const own: readonly string[] = sightings.get(machine)?.own ?? [];
    const next: { readonly name: string; readonly packet: FlowSighting } | undefined =
      left === undefined
        ? undefined
        : [...sightings.keys()]
            .filter((name) => !visits.some((visit) => visit.machine === name))
            .flatMap((name) => at(name).map((packet) => ({ name, packet })))
            .find(
              ({ packet }) =>
                packet.direction === 'in' && own.includes(packet.sender) && isSame(packet, left),
            );
    machine = next?.name;
    arrived = next?.packet;
  }
  return visits;
}

function isSame(a: FlowPacket, b: FlowPacket): boolean {
  return (
    a.source === b.source &&
    a.destination === b.destination &&
    a.sourcePort === b.sourcePort &&
    a.port === b.port
  );
}

/** "192.0.2.1:20001 > 10.0.0.1:1234 S", as in a capture. */
export function packetText(packet: Packet): string {
  const where = `${packet.ms.toFixed(0).padStart(5)} ms ${packet.interface} ${packet.direction}`;
  if (packet.protocol === 'icmp')
    return `${where} ICMP ${packet.type}/${packet.code} ${packet.source} > ${packet.destination}`;
  const kind = packet.protocol === 'tcp' ? packet.flags : 'UDP';
  return `${where} ${endsText(packet)} ${kind}`;
}

/** "192.0.2.1:20001 > 10.0.0.1:1234". */
export function endsText({ source, sourcePort, destination, port }: FlowPacket): string {
  return `${source}:${sourcePort} > ${destination}:${port}`;
}
