import type { RulePacket } from '../matrix/rule-match.ts';
import { type Case, targetOf, watchedAt } from './case.ts';
import type { FlowSighting, Visit } from './flow.ts';
import { countingRules } from './rules.ts';

/**
 * What a packet can look like to the rules of a machine on its way: as it was seen there, and led to another destination
 * by an endpoint of its service or a rule that counted it. Pure.
 */
export function packetsAt(given: Case, { machine, arrived, left }: Visit): readonly RulePacket[] {
  const { cell, state } = given;
  const own: RulePacket = {
    protocol: cell.protocol,
    ...(left === undefined ? {} : { source: left.source }),
    destination: targetOf(given),
    port: cell.port,
    ...(machine === cell.from ? { in: '' } : {}),
    service: cell.service ?? '',
  };
  const seen = arrived === undefined ? own : packetOf(given, arrived);
  const endpoints = state.services
    .filter(({ name }) => name === cell.service)
    .flatMap((each) => each.endpoints);
  const led = [
    ...endpoints.flatMap(({ ip, ports }) => Object.values(ports).map((port) => ({ destination: ip, port }))),
    ...destinationsOf(given, machine, seen),
  ];
  return [seen, ...led.map((to) => ({ ...seen, ...to }))].map((packet) => {
    const { dev } = watchedAt(given, machine).routes[packet.destination ?? ''] ?? {};
    return dev === undefined ? packet : { ...packet, out: dev };
  });
}

/** What an answer can look like to the rules of a machine on its way back: as it was seen, and with translation undone. */
export function answersAt(given: Case, arrived: FlowSighting): readonly RulePacket[] {
  const seen = packetOf(given, arrived);
  const { source } = given.story.forward.find((visit) => visit.arrived !== undefined)?.arrived ?? {};
  return [seen, ...(source === undefined ? [] : [{ ...seen, destination: source }])];
}

function packetOf({ cell }: Case, sighting: FlowSighting): RulePacket {
  const { protocol, source, sourcePort, destination, port, interface: name } = sighting;
  return { protocol, source, sourcePort, destination, port, in: name, service: cell.service ?? '' };
}

/** Where rules that counted the packet have led it. */
function destinationsOf(given: Case, machine: string, packet: RulePacket) {
  return countingRules(watchedAt(given, machine), [packet]).flatMap(({ rule }) => {
    const [, destination, port] = /--to-destination ([\d.]+)(?::(\d+))?$/.exec(rule) ?? [];
    if (destination === undefined) return [];
    return [{ destination, ...(port === undefined ? {} : { port: Number(port) }) }];
  });
}
