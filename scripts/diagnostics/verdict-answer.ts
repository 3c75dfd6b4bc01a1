import { networkOf } from '../matrix/expect/network-state.ts';
import type { Difference } from '../matrix/findings.ts';
import { type Case, nextHops, watchedAt } from './case.ts';
import { endsText, type FlowSighting, type Visit } from './flow.ts';
import { answersAt, packetsAt } from './rule-packets.ts';
import { by, stoppingRulesOf } from './rules.ts';

/** The packet came to the pod; the fault is there or on the way back. */
export function fromPod(given: Case, last: Visit, pod: string): Difference {
  const { story, observed } = given;
  const atPod = { at: pod, machine: last.machine };
  const { reply, answer } = story;
  if (reply === undefined) return { reason: 'pod-silent', ...atPod };
  if (reply.protocol === 'tcp' && reply.flags.includes('R'))
    return { reason: 'pod-refused', ...atPod, port: reply.sourcePort };
  const end = answer.at(-1);
  const origin = story.forward[0]?.machine;
  const isBack = end?.machine === origin && (end?.arrived !== undefined || end?.left !== undefined);
  if (!isBack && end !== undefined) return lostAnswer(given, end, pod);
  if (observed.outcome === 'ok') return { reason: 'right-this-time', ...atPod };
  if (observed.outcome === 'timeout') {
    const stalled = secondPacketLost(given);
    if (stalled !== undefined) return stalled;
    if (!saidSomething(given, last)) return { reason: 'server-silent', ...atPod };
  }
  return { reason: 'wrong-answer', ...atPod, said: observed.detail ?? observed.outcome };
}

/**
 * The connection was made, but what the client sent next did not come through: a machine that sees only one direction of
 * a connection takes what follows the SYN for INVALID, and KUBE-FORWARD drops that.
 */
function secondPacketLost(given: Case): Difference | undefined {
  for (const visit of given.story.forward) {
    const { machine, arrived, left } = visit;
    const watched = watchedAt(given, machine);
    const later = (first: FlowSighting | undefined) =>
      first !== undefined &&
      watched.packets.some(
        (packet) =>
          packet.protocol === 'tcp' &&
          packet.direction === first.direction &&
          !packet.flags.includes('S') &&
          endsText(packet) === endsText(first),
      );
    if (arrived === undefined || left === undefined || !later(arrived) || later(left)) continue;
    const [rule] = stoppingRulesOf(watched, packetsAt(given, visit));
    return { reason: 'second-packet-lost', at: machine, ...by(rule) };
  }
  return undefined;
}

/** True if payload came from the pod. */
function saidSomething({ sightings, story: { reply }, ports }: Case, { machine }: Visit): boolean {
  const packets = sightings.get(machine)?.packets ?? [];
  return packets.some(
    (packet) =>
      packet.protocol === 'tcp' &&
      packet.bytes > 0 &&
      packet.source === reply?.source &&
      packet.port === reply.port &&
      ports.includes(packet.sourcePort),
  );
}

function lostAnswer(given: Case, end: Visit, pod: string): Difference {
  const { cell, state } = given;
  const watched = watchedAt(given, end.machine);
  const [rule] = end.arrived === undefined ? [] : stoppingRulesOf(watched, answersAt(given, end.arrived));
  if (end.left === undefined) return { reason: 'answer-stopped', at: end.machine, pod, ...by(rule) };
  const leads = nextHops(networkOf(state), end.machine, end.left);
  return {
    reason: 'answer-lost-on-link',
    at: end.machine,
    pod,
    interface: end.left.interface,
    to: leads.length === 0 ? [cell.from] : leads,
  };
}
