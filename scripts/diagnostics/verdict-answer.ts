import { worldOf } from '../matrix/expect/world.ts';
import { type Case, type Difference, nextHops, watchedAt } from './case.ts';
import { endsText, type FlowSighting, type Visit } from './flow.ts';
import { orOf } from './names.ts';
import { answersAt, packetsAt } from './rule-packets.ts';
import { ruleText, stoppingRulesOf } from './rules.ts';

/** The packet came to the pod; the fault is there or on the way back. */
export function fromPod(given: Case, last: Visit, pod: string): Difference {
  const { story, observed } = given;
  const way = `the packet took the predicted way to ${pod} on ${last.machine}`;
  const { reply, answer } = story;
  if (reply === undefined) return { at: pod, sentence: `${way}, which got it and did not answer` };
  if (reply.protocol === 'tcp' && reply.flags.includes('R'))
    return {
      at: pod,
      sentence: `${way}, which refused it: nothing listens on port ${reply.sourcePort} there`,
    };
  const end = answer.at(-1);
  const origin = story.forward[0]?.machine;
  const isBack = end?.machine === origin && (end?.arrived !== undefined || end?.left !== undefined);
  if (!isBack && end !== undefined) return lostAnswer(given, end, pod);
  if (observed.outcome === 'ok')
    return { at: pod, sentence: `${way} and back, and this time it was answered as it has to be` };
  if (observed.outcome === 'timeout') {
    const stalled = secondPacketLost(given);
    if (stalled !== undefined) return stalled;
    if (!saidSomething(given, last))
      return {
        at: pod,
        sentence: `${way}, which accepted the connection and then said nothing: the server there does not serve`,
      };
  }
  return {
    at: pod,
    sentence: `${way} and back, but what ${pod} said is wrong: ${observed.detail ?? observed.outcome}`,
  };
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
    return {
      at: machine,
      sentence: `${machine} sent the first packet on, but not what followed when the connection was made${rule === undefined ? '' : `: ${ruleText(rule)} stopped it`}`,
    };
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
  if (end.left === undefined)
    return {
      at: end.machine,
      sentence: `${pod} answered, but ${end.machine} did not send the answer on${rule === undefined ? '' : `: ${ruleText(rule)} stopped it`}`,
    };
  const world = worldOf(state);
  const leads = orOf(nextHops(world, world.machine(end.machine), end.left)) || cell.from;
  return {
    at: end.machine,
    sentence: `${pod} answered, and the answer left ${end.machine} by ${end.left.interface} for ${leads}, where it never arrived`,
  };
}
