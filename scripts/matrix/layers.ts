import { type Check, type CheckOf, checkId, type Subject } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';

/**
 * Two questions are kept apart. A check compares what is there with what should be: with the plan's sessions, and with
 * what services, endpoints and BGP configuration say has to be announced (bgp/checks/expected.ts, rule-checks.ts). A
 * cell compares what happens with what the tables and rules, as they are, say will happen. So a pod that is scaled
 * away, a policy that was flipped or a route that somebody added on purpose moves the expectation and turns nothing
 * red; a next hop, session or rule that has to be there and is not fails its check, and the cells that need it are not
 * tried.
 */

/** A check that did not pass, with the one that it follows from. */
export interface LayeredChecks {
  /** As given, but a failed check that follows from another one is blocked. */
  readonly checks: readonly Check[];
  /** By the id of a failed or blocked check: the id of the failed check at the bottom. */
  readonly roots: ReadonlyMap<string, string>;
}

/** The tables of a speaker, in the order in which a route gets from one to the next (bgp/checks/observe.ts). */
const TABLES = ['bgp', 'rib', 'fib', 'bird', 'kernel'];
const OWN = 'blackhole';

/**
 * Puts failed checks in order: sessions, the table of the speaker that announces, the tables of those that learn from it,
 * kernels, nodes' rules. A failed check whose every difference follows from a failed check below it is blocked by that,
 * so that one cause is one red line. Pure.
 */
export function layerChecks(plan: LabPlan, checks: readonly Check[]): LayeredChecks {
  const failed = new Map(
    checks.filter(({ verdict }) => verdict === 'failed').map((check) => [check.id, check]),
  );
  const causes = new Map<string, string>();
  for (const check of failed.values()) {
    const cause = causeOf(plan, check, failed);
    if (cause !== undefined && cause !== check.id) causes.set(check.id, cause);
  }
  const roots = new Map([...failed.keys()].map((id) => [id, rootOf(id, causes)]));
  return { roots, checks: checks.map((check) => blockedBy(check, roots.get(check.id))) };
}

/** The check as one that follows from another; as it is where it follows from none. */
export function blockedBy(check: Check, root: string | undefined): Check {
  return root === undefined || root === check.id ? check : { ...check, verdict: 'blocked', blockedBy: root };
}

function rootOf(id: string, causes: ReadonlyMap<string, string>): string {
  const visited = new Set<string>();
  let root = id;
  for (let next: string | undefined = id; next !== undefined && !visited.has(next); next = causes.get(next)) {
    visited.add(next);
    root = next;
  }
  return root;
}

type Failed = ReadonlyMap<string, Check>;
type Route = CheckOf<'route'>;

function causeOf(plan: LabPlan, check: Check, failed: Failed): string | undefined {
  if (check.kind === 'session') return sessionCause(plan, check.subject, failed);
  if (check.kind === 'route') return routeCause(plan, check, failed);
  if (check.kind === 'unplanned-routes') return leakCause(plan, check, failed);
  // kube-proxy of a node is the cause of all of its rules that are not right: the first one stands for all.
  if (check.kind === 'service-rules')
    return [...failed.values()].find(
      (other) => other.kind === check.kind && other.subject.machine === check.subject.machine,
    )?.id;
  return undefined;
}

/** Where all of a machine's sessions are down, the machine is the cause: its first session stands for all. */
function sessionCause(plan: LabPlan, { a, b }: Subject<'session'>, failed: Failed): string | undefined {
  for (const machine of [a, b]) {
    const own = sessionsOf(plan, machine);
    if (own.length > 1 && own.every((each) => failed.has(each))) return own[0];
  }
  return undefined;
}

function routeCause(plan: LabPlan, { subject, wanted, seen }: Route, failed: Failed): string | undefined {
  const below = TABLES.slice(0, TABLES.indexOf(subject.table)).reverse();
  const lower = below
    .map((table) => failed.get(checkId('route', { ...subject, table })))
    .find((each): each is Route => each?.kind === 'route');
  if (lower !== undefined && (lower.seen === null || lower.seen.nextHops.join() === seen?.nextHops.join()))
    return lower.id;
  // The daemon does not answer: its sessions say the same.
  if (seen === null) return sessionsOf(plan, subject.machine).find((id) => isSilent(failed.get(id), subject));
  const differing = [
    ...wanted.nextHops.filter((hop) => !seen.nextHops.includes(hop)),
    ...seen.nextHops.filter((hop) => !wanted.nextHops.includes(hop)),
  ];
  const causes = differing.map((hop) => hopCause(plan, subject, hop, failed));
  return causes.every((cause) => cause !== undefined) ? causes[0] : undefined;
}

/** True for a session that a machine could say nothing about. */
function isSilent(session: Check | undefined, { machine }: Subject<'route'>): boolean {
  return (
    session?.kind === 'session' &&
    session.seen?.ends.some((end) => end.machine === machine && end.problem !== undefined) === true
  );
}

/** Why a next hop is missing or too many: no session to it, or it announces wrongly itself. */
function hopCause(plan: LabPlan, { machine, prefix }: Subject<'route'>, hop: string, failed: Failed) {
  const owner = plan.machines.find(({ address }) => address === hop)?.name;
  if (owner === undefined || owner === machine) return undefined;
  const others = sessionsOf(plan, owner);
  const session = sessionsOf(plan, machine).find((id) => others.includes(id) && failed.has(id));
  if (session !== undefined) return session;
  const origin = failed.get(checkId('route', { machine: owner, table: 'bird', prefix }));
  if (origin?.kind !== 'route') return undefined;
  const concernsOwn = origin.wanted.nextHops.includes(OWN) || origin.seen?.nextHops.includes(OWN);
  return concernsOwn ? origin.id : undefined;
}

type Leak = CheckOf<'unplanned-routes'>;

/** Who a machine has its unplanned routes from, where it has made none of them itself. */
function leakCause({ machines }: LabPlan, { seen }: Leak, failed: Failed): string | undefined {
  if (seen === null || seen.offered.length > 0) return undefined;
  const causes = seen.held.map(({ prefix, nextHops }) => {
    const from = machines.find(({ address }) => nextHops.includes(address))?.name;
    const there = from && failed.get(checkId('unplanned-routes', { machine: from }));
    const leak = there && there.kind === 'unplanned-routes' ? there.seen : null;
    const isOrigin =
      leak?.offered.some((each) => each.prefix === prefix) === true ||
      leak?.held.some((each) => each.prefix === prefix && each.nextHops.includes(OWN)) === true;
    return there && isOrigin ? there.id : undefined;
  });
  return causes.every((cause) => cause !== undefined) ? causes[0] : undefined;
}

/** The ids of a machine's sessions. */
function sessionsOf({ bgp }: LabPlan, machine: string): readonly string[] {
  return bgp.peerings
    .filter(({ a, b }) => a.machine === machine || b.machine === machine)
    .map(({ kind, a, b }) => checkId('session', { a: a.machine, b: b.machine, protocol: kind }));
}
