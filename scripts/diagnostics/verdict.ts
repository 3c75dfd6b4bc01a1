import { networkOf } from '../matrix/expect/network-state.ts';
import type { Difference } from '../matrix/findings.ts';
import type { Cell } from '../matrix/types.ts';
import { type Case, nameOf, nextHops, podBehind, targetOf, watchedAt } from './case.ts';
import type { Story, Visit } from './flow.ts';
import { packetsAt } from './rule-packets.ts';
import { by, countingRules, routeText, seenRule, stoppingRulesOf } from './rules.ts';
import { fromPod } from './verdict-answer.ts';

/** Finds the first hop that differs from what the chain says. Pure. */
export function firstDifference(given: Case): Difference {
  const { cell, story } = given;
  const stranger = wrongTurn(given) ?? wrongDestination(given);
  if (stranger !== undefined) return stranger;
  const last = story.forward.at(-1);
  if (last === undefined) return { reason: 'nothing-seen', at: cell.from };
  if (cell.expected.outcome !== 'ok') return notStopped(given, last);
  const pod = podBehind(given, last);
  if (pod !== undefined) return fromPod(given, last, pod);
  return endsEarly(given, last);
}

/** The packet came to a machine that the routes, as they were read, do not lead to. */
function wrongTurn({ state, story, cell }: Case): Difference | undefined {
  const network = networkOf(state);
  for (const [index, { machine, left }] of story.forward.entries()) {
    const next = story.forward[index + 1];
    if (next === undefined || left === undefined) continue;
    const leads = nextHops(network, machine, left);
    if (leads.length === 0 || leads.includes(next.machine)) continue;
    return {
      reason: 'wrong-next-machine',
      at: machine,
      to: next.machine,
      destination: left.destination,
      leads,
      ...cameFrom(story, index, cell),
    };
  }
  return undefined;
}

/** The packet was led to a backend, or shows a source, that the chain does not allow. */
function wrongDestination(given: Case): Difference | undefined {
  const { cell, state, story } = given;
  const { servers, clients, outcome } = cell.expected;
  if (outcome !== 'ok') return undefined;
  const network = networkOf(state);
  for (const [index, visit] of story.forward.entries()) {
    const { machine, arrived, left } = visit;
    if (left === undefined) continue;
    const isTranslated = (arrived?.destination ?? targetOf(given)) !== left.destination;
    if (isTranslated && !servers.includes(left.destination)) {
      const rule = countingRules(watchedAt(given, machine), packetsAt(given, visit)).find(
        (each) => each.target === 'DNAT' && each.rule.includes(` ${left.destination}`),
      );
      return {
        reason: 'wrong-destination',
        at: machine,
        destination: nameOf(network, left.destination),
        wanted: servers.map((ip) => nameOf(network, ip)),
        ...by(rule),
        ...cameFrom(story, index, cell),
      };
    }
  }
  const delivered = story.forward.findLast(({ left }) => left !== undefined);
  const source = delivered?.left?.source;
  if (
    source === undefined ||
    clients.includes(source) ||
    podBehind(given, story.forward.at(-1)) === undefined
  )
    return undefined;
  const changed = story.forward.findLast(
    ({ arrived, left }) => arrived !== undefined && left !== undefined && arrived.source !== left.source,
  );
  if (changed === undefined)
    return { reason: 'source-kept', at: delivered?.machine ?? cell.from, source, wanted: clients };
  const rule = countingRules(watchedAt(given, changed.machine), packetsAt(given, changed)).find(
    ({ target }) => ['SNAT', 'MASQUERADE'].includes(target),
  );
  const before = changed.arrived?.source;
  return {
    reason: 'source-replaced',
    at: changed.machine,
    ...(before === undefined ? {} : { before }),
    source: changed.left?.source ?? source,
    wanted: clients,
    ...by(rule),
  };
}

/** The packet ended before it came to a pod. */
function endsEarly(given: Case, last: Visit): Difference {
  const { cell, state, story } = given;
  const { machine, arrived, left } = last;
  const watched = watchedAt(given, machine);
  const [error] = story.errors;
  if (left !== undefined) {
    const leads = nextHops(networkOf(state), machine, left);
    const to = leads.length === 0 ? [left.destination] : leads;
    return { reason: 'lost-on-link', at: machine, interface: left.interface, to };
  }
  const reached = arrived === undefined ? {} : { interface: arrived.interface };
  const [rule] = stoppingRulesOf(watched, packetsAt(given, last));
  if (rule !== undefined)
    return {
      reason: 'stopped',
      at: machine,
      ...reached,
      rule: seenRule(rule),
      ...(arrived === undefined ? {} : stillNextHop(given, rule.rule)),
    };
  const answer = story.answer.find((visit) => visit.machine === machine);
  if (answer?.left?.protocol === 'tcp' && answer.left.flags.includes('R'))
    return { reason: 'refused', at: machine, ...reached, ...predictedAt(given, machine) };
  if (answer?.left !== undefined) {
    const turned = countingRules(watched, packetsAt(given, last)).find(({ target }) => target === 'REDIRECT');
    return {
      reason: 'answered-locally',
      at: machine,
      ...reached,
      ...by(turned),
      ...predictedAt(given, machine),
    };
  }
  if (error !== undefined)
    return {
      reason: 'icmp',
      at: error.machine,
      ...reached,
      last: machine,
      type: error.message.type,
      code: error.message.code,
      ...predictedAt(given, error.machine),
    };
  const route = Object.values(watched.routes).find(
    (each) => each.error !== undefined || each.type !== undefined,
  );
  if (route !== undefined && route.type !== 'local')
    return {
      reason: 'no-route',
      at: machine,
      ...reached,
      route: routeText(route),
      ...predictedAt(given, machine),
      ...cameFrom(story, story.forward.length - 1, cell),
    };
  const [problem] = watched.problems;
  if (arrived === undefined)
    return {
      reason: 'not-sent',
      at: machine,
      said: given.observed.detail ?? given.observed.outcome,
      ...(problem === undefined ? {} : { problem }),
    };
  return { reason: 'ended', at: machine, ...reached, ...predictedAt(given, machine) };
}

/** It had to fail, and either got through or failed otherwise. */
function notStopped(given: Case, last: Visit): Difference {
  const { cell, story, state, observed } = given;
  const { chain, outcome } = cell.expected;
  const end = chain.at(-1);
  const visit = story.forward.find(({ machine }) => machine === end?.at);
  if (end === undefined) return endsEarly(given, last);
  if (visit?.left !== undefined) {
    const to = nameOf(networkOf(state), visit.left.destination);
    return { reason: 'sent-on', at: end.at, to, interface: visit.left.interface, predicted: end.text };
  }
  const [rule] = stoppingRulesOf(watchedAt(given, end.at), packetsAt(given, visit ?? { machine: end.at }));
  if (observed.outcome === outcome && visit?.arrived !== undefined)
    return {
      reason: 'ended-by-other-rule',
      at: end.at,
      interface: visit.arrived.interface,
      predicted: end.text,
      ...by(rule),
    };
  if (visit !== undefined && story.reply === undefined && story.errors.length === 0)
    return {
      reason: 'other-outcome',
      at: end.at,
      predicted: end.text,
      outcome: observed.outcome,
      wanted: outcome,
      said: observed.detail,
    };
  if (story.reply !== undefined || observed.outcome === 'ok')
    return { reason: 'answered-elsewhere', at: last.machine, end: end.at, predicted: end.text };
  return endsEarly(given, last);
}

/** Who still sends it here, where kube-proxy's rule says that the node has no endpoint, so that it must be no next hop. */
function stillNextHop({ story, cell }: Case, rule: string): { readonly nextHopOf?: string } {
  if (!/has no (local )?endpoints/.test(rule) || story.forward.length < 2) return {};
  const before = story.forward.at(-2);
  return before?.left?.destination === cell.address ? { nextHopOf: before.machine } : {};
}

/** What the chain says instead about a machine. */
function predictedAt({ cell }: Case, machine: string): { readonly predicted?: string } {
  const step = cell.expected.chain.findLast(
    ({ at, layer }) => at === machine && layer !== 'bgp' && layer !== 'source',
  );
  return step === undefined ? {} : { predicted: step.text };
}

/** On a longer way: where the packet came from. */
function cameFrom({ forward }: Story, index: number, cell: Cell): { readonly from?: string } {
  const before = forward[index - 1]?.machine;
  return before === undefined || before === cell.from ? {} : { from: before };
}
