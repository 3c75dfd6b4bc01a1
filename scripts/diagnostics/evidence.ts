import type { Evidence, EvidenceHop } from '../matrix/types.ts';
import { type Case, watchedAt } from './case.ts';
import { endsText, packetText, type Visit } from './flow.ts';
import { answersAt, packetsAt } from './rule-packets.ts';
import { conntrackOf, countingRules, routeText, ruleText, seenRule } from './rules.ts';
import { firstDifference } from './verdict.ts';

/** More rules than these say nothing more about one flow. */
const MOST_RULES = 12;

/** The first hop that differs, and every hop with what was seen there. Pure. */
export function evidenceOf(given: Case): Evidence {
  const difference = firstDifference(given);
  return { difference, hops: hopsOf(given, 'at' in difference ? difference.at : '') };
}

function hopsOf(given: Case, differsAt: string): readonly EvidenceHop[] {
  const { story, cell, sightings } = given;
  const predicted = cell.expected.chain.map(({ at }) => at).filter((at) => sightings.has(at));
  const passed = story.forward.map(({ machine }) => machine);
  const back = story.answer.map(({ machine }) => machine);
  const ends = differsAt.startsWith('pod/') ? [differsAt] : [];
  const names = [...new Set([...passed, ...ends, ...back, ...predicted])];
  return names.map((at): EvidenceHop => {
    const visit = story.forward.find(({ machine }) => machine === at);
    const isBack = back.includes(at);
    const agrees = at !== differsAt && (visit !== undefined || isBack);
    return at.startsWith('pod/')
      ? { at, agrees, text: podText(given), detail: [] }
      : { at, agrees, text: visitText(visit, isBack), detail: detailOf(given, at) };
  });
}

function podText({ story: { reply } }: Case): string {
  if (reply === undefined) return 'gave no answer';
  return `answered ${reply.protocol === 'tcp' ? `with ${reply.flags}` : 'with a datagram'}`;
}

function visitText(visit: Visit | undefined, isOnWayBack: boolean): string {
  if (visit === undefined) return isOnWayBack ? 'passed the answer on' : 'saw nothing of it';
  const { arrived, left } = visit;
  if (arrived === undefined && left === undefined) return 'sent nothing of it';
  const came = arrived === undefined ? '' : `in by ${arrived.interface} as ${endsText(arrived)}`;
  const went = left === undefined ? 'not sent on' : `out by ${left.interface} as ${endsText(left)}`;
  return [came, went].filter((part) => part !== '').join(', ');
}

function detailOf(given: Case, machine: string): readonly string[] {
  const { story, cell } = given;
  const watched = watchedAt(given, machine);
  const visits = [...story.forward, ...story.answer].filter((visit) => visit.machine === machine);
  const packets = visits
    .flatMap(({ arrived, left }) => [arrived, left])
    .filter((packet) => packet !== undefined);
  const addresses = new Set([cell.address, ...packets.map(({ destination }) => destination)]);
  const errors = story.errors.filter((error) => error.machine === machine).map(({ message }) => message);
  const known = [
    ...story.forward.filter((visit) => visit.machine === machine).flatMap((visit) => packetsAt(given, visit)),
    ...story.answer.flatMap(({ machine: at, arrived }) =>
      at === machine && arrived !== undefined ? answersAt(given, arrived) : [],
    ),
  ];
  const rules = countingRules(watched, known).filter(({ rule }) => isTelling(rule, cell.service));
  return [
    ...[...packets, ...errors].map((packet) => `packet: ${packetText(packet).trim()}`),
    ...rules.slice(0, MOST_RULES).map((rule) => ruleText(seenRule(rule))),
    ...new Set(packets.flatMap((packet) => conntrackOf(watched, packet)).map((line) => `conntrack: ${line}`)),
    ...Object.entries(watched.routes)
      .filter(([to]) => addresses.has(to))
      .map(([to, route]) => `route to ${to}: ${routeText(route)}`),
    ...Object.entries(watched.bgp).flatMap(([to, text]) =>
      (addresses.has(to) ? text : '')
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => `bgp: ${line}`),
    ),
    ...watched.problems.map((problem) => `not known: ${problem}`),
  ];
}

/** Rules that decide something, or are about the service. */
function isTelling(rule: string, service: string | undefined): boolean {
  if (/-j (DROP|REJECT|SNAT|MASQUERADE|KUBE-MARK-DROP)\b/.test(rule)) return true;
  return service !== undefined && rule.includes(`/${service}`);
}
