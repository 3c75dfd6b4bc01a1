import { worldOf } from '../matrix/expect/world.ts';
import type { Cell } from '../matrix/types.ts';
import { type Case, type Difference, nextHops, podBehind, watchedAt } from './case.ts';
import type { Story, Visit } from './flow.ts';
import { nameOf, orOf, targetOf } from './names.ts';
import { packetsAt } from './rule-packets.ts';
import {
  destinationRulesOf,
  localRulesOf,
  routeText,
  ruleText,
  sourceRulesOf,
  stoppingRulesOf,
} from './rules.ts';
import { fromPod } from './verdict-answer.ts';

/** Finds the first hop that differs from what the chain says. Pure. */
export function firstDifference(given: Case): Difference {
  const { cell, story } = given;
  const stranger = wrongTurn(given) ?? wrongDestination(given);
  if (stranger !== undefined) return stranger;
  const last = story.forward.at(-1);
  if (last === undefined) return { at: cell.from, sentence: `nothing of it was seen on ${cell.from}` };
  if (cell.expected.outcome !== 'ok') return notStopped(given, last);
  const pod = podBehind(given, last);
  if (pod !== undefined) return fromPod(given, last, pod);
  return endsEarly(given, last);
}

/** The packet came to a machine that the routes, as they were read, do not lead to. */
function wrongTurn({ state, story, cell }: Case): Difference | undefined {
  const world = worldOf(state);
  for (const [index, { machine, left }] of story.forward.entries()) {
    const next = story.forward[index + 1];
    if (next === undefined || left === undefined) continue;
    const leads = nextHops(world, world.machine(machine), left);
    if (leads.length === 0 || leads.includes(next.machine)) continue;
    return {
      at: machine,
      sentence: `${machine} sent the packet to ${next.machine}, but its route to ${left.destination} leads to ${orOf(leads)}${cameFrom(story, index, cell)}`,
    };
  }
  return undefined;
}

/** The packet was led to a backend, or shows a source, that the chain does not allow. */
function wrongDestination(given: Case): Difference | undefined {
  const { cell, state, story } = given;
  const { servers, clients, outcome } = cell.expected;
  if (outcome !== 'ok') return undefined;
  const world = worldOf(state);
  for (const [index, visit] of story.forward.entries()) {
    const { machine, arrived, left } = visit;
    if (left === undefined) continue;
    const isTranslated = (arrived?.destination ?? targetOf(given)) !== left.destination;
    if (isTranslated && !servers.includes(left.destination)) {
      const [rule] = destinationRulesOf(watchedAt(given, machine), packetsAt(given, visit), left.destination);
      return {
        at: machine,
        sentence: `${machine} led it to ${nameOf(world, left.destination)}${rule === undefined ? '' : ` by ${ruleText(rule)}`}, but only ${orOf(servers.map((ip) => nameOf(world, ip)))} may answer${cameFrom(story, index, cell)}`,
      };
    }
  }
  const delivered = [...story.forward].reverse().find(({ left }) => left !== undefined);
  const source = delivered?.left?.source;
  if (
    source === undefined ||
    clients.includes(source) ||
    podBehind(given, story.forward.at(-1)) === undefined
  )
    return undefined;
  const index = changeOfSource(story.forward);
  const changed = index === undefined ? undefined : story.forward[index];
  if (changed === undefined || index === undefined)
    return {
      at: delivered?.machine ?? cell.from,
      sentence: `nobody changed the source ${source} on the way, but the server is to see ${orOf(clients)}`,
    };
  const [rule] = sourceRulesOf(watchedAt(given, changed.machine), packetsAt(given, changed));
  const before = changed.arrived?.source;
  return {
    at: changed.machine,
    sentence: `${changed.machine} replaced the source ${before === undefined ? '' : `${before} `}by ${changed.left?.source}${rule === undefined ? '' : ` with ${ruleText(rule)}`}, but the server is to see ${orOf(clients)}`,
  };
}

function changeOfSource(visits: readonly Visit[]): number | undefined {
  const changes = visits.flatMap(({ arrived, left }, index) =>
    arrived !== undefined && left !== undefined && arrived.source !== left.source ? [index] : [],
  );
  return changes.at(-1);
}

/** The packet ended before it came to a pod. */
function endsEarly(given: Case, last: Visit): Difference {
  const { cell, state, story } = given;
  const { machine, arrived, left } = last;
  const watched = watchedAt(given, machine);
  const to = cameFrom(story, story.forward.length - 1, cell);
  const [error] = story.errors;
  if (left !== undefined) {
    const world = worldOf(state);
    const leads = orOf(nextHops(world, world.machine(machine), left)) || left.destination;
    return {
      at: machine,
      sentence: `the packet left ${machine} by ${left.interface} for ${leads}, where it never arrived`,
    };
  }
  const reached = arrived === undefined ? '' : `the packet reached ${machine} ${arrived.interface}, and `;
  const [rule] = stoppingRulesOf(watched, packetsAt(given, last));
  if (rule !== undefined)
    return {
      at: machine,
      sentence:
        arrived === undefined
          ? `${machine} did not send it: ${ruleText(rule)} stopped it`
          : `${reached}${ruleText(rule)} stopped it there${stillNextHop(given, rule.rule)}`,
    };
  const answer = [...story.answer].find((visit) => visit.machine === machine);
  if (answer?.left?.protocol === 'tcp' && answer.left.flags.includes('R'))
    return {
      at: machine,
      sentence: `${reached}${machine} itself refused it, because nothing there listens or translates it${wantedAt(given, machine)}`,
    };
  if (answer?.left !== undefined) {
    const [turned] = localRulesOf(watched, packetsAt(given, last));
    const by = turned === undefined ? '' : `, to which ${ruleText(turned)} led it`;
    return {
      at: machine,
      sentence: `${reached}a program on ${machine} itself answered it${by}${wantedAt(given, machine)}`,
    };
  }
  if (error !== undefined)
    return {
      at: error.machine,
      sentence: `${reached}${error.machine} answered with ICMP type ${error.message.type} code ${error.message.code}${wantedAt(given, error.machine)}`,
    };
  const route = Object.values(watched.routes).find(
    (each) => each.error !== undefined || each.type !== undefined,
  );
  if (route !== undefined && route.type !== 'local')
    return {
      at: machine,
      sentence: `${reached}${machine} has no way to go on with it (${routeText(route)})${wantedAt(given, machine)}${to}`,
    };
  const [problem] = watched.problems;
  if (arrived === undefined)
    return {
      at: machine,
      sentence: `nothing of it left ${machine}: ${given.observed.detail ?? given.observed.outcome}${problem === undefined ? '' : ` (${problem})`}`,
    };
  return {
    at: machine,
    sentence: `${reached}it went no further, and no rule and no route there tells why${wantedAt(given, machine)}`,
  };
}

/** It had to fail, and either got through or failed otherwise. */
function notStopped(given: Case, last: Visit): Difference {
  const { cell, story, state, observed } = given;
  const { chain, outcome } = cell.expected;
  const end = chain.at(-1);
  const visit = story.forward.find(({ machine }) => machine === end?.at);
  if (end === undefined) return endsEarly(given, last);
  if (visit?.left !== undefined) {
    const to = nameOf(worldOf(state), visit.left.destination);
    return {
      at: end.at,
      sentence: `the packet was to end on ${end.at} (${end.text}), but ${end.at} sent it on to ${to} by ${visit.left.interface}`,
    };
  }
  const [rule] = stoppingRulesOf(watchedAt(given, end.at), packetsAt(given, visit ?? { machine: end.at }));
  if (observed.outcome === outcome && visit?.arrived !== undefined)
    return {
      at: end.at,
      sentence: `the packet reached ${end.at} ${visit.arrived.interface} and ended there, but ${rule === undefined ? 'no rule counted it' : `by ${ruleText(rule)}`} and not as predicted: ${end.text}`,
    };
  if (visit !== undefined && story.reply === undefined && story.errors.length === 0)
    return {
      at: end.at,
      sentence: `the packet ended on ${end.at} as predicted (${end.text}), but that looked like ${observed.outcome} and not like ${outcome}${observed.detail === null ? '' : `: ${observed.detail}`}`,
    };
  if (story.reply !== undefined || observed.outcome === 'ok')
    return {
      at: last.machine,
      sentence: `the packet was to end on ${end.at} (${end.text}), but it was answered on ${last.machine}`,
    };
  return endsEarly(given, last);
}

/** "…, but bgp still has k8sworker1 as next hop": a node that has no pod of its own must not be one. */
function stillNextHop({ story, cell }: Case, rule: string): string {
  if (!/has no (local )?endpoints/.test(rule) || story.forward.length < 2) return '';
  const before = story.forward.at(-2);
  const last = story.forward.at(-1);
  if (before === undefined || last === undefined || before.left?.destination !== cell.address) return '';
  return `, but ${before.machine} still has ${last.machine} as next hop`;
}

/** What the chain says instead about a machine. */
function wantedAt({ cell }: Case, machine: string): string {
  const steps = cell.expected.chain.filter(
    ({ at, layer }) => at === machine && layer !== 'bgp' && layer !== 'source',
  );
  const step = steps.at(-1);
  return step === undefined ? '' : `; predicted there: ${step.text}`;
}

/** On a longer way: where the packet came from. */
function cameFrom({ forward }: Story, index: number, cell: Cell): string {
  const before = forward[index - 1]?.machine;
  return before === undefined || before === cell.from ? '' : ` (it came from ${before})`;
}
