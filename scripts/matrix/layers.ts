import type { Check } from '../bgp/checks/check.ts';
import type { LabPlan, PeeringPlan } from '../plan/types.ts';

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

/** What a check of one prefix in one table is about. */
export interface RouteCheck {
  readonly machine: string;
  readonly table: string;
  readonly prefix: string;
}

/** Finds out what a check's id names; undefined for a check that is not about a prefix. */
export function routeCheckOf(plan: LabPlan, id: string): RouteCheck | undefined {
  for (const { name } of plan.machines) {
    const start = `bgp.route.${name}.`;
    if (!id.startsWith(start)) continue;
    const rest = id.slice(start.length);
    const table = rest.split('.')[0] ?? '';
    const prefix = rest.slice(table.length + 1);
    if (prefix.includes('/')) return { machine: name, table, prefix };
  }
  return undefined;
}

/** The id of the check of a node's rules for a service (rule-checks.ts). */
export function ruleCheckId(node: string, service: string): string {
  return `rules.${node}.${service}`;
}

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
  for (const { id } of failed.values()) {
    const cause =
      sessionCause(plan, id, failed) ?? routeCause(plan, id, failed) ?? ruleCause(plan, id, failed);
    if (cause !== undefined && cause !== id) causes.set(id, cause);
  }
  const roots = new Map([...failed.keys()].map((id) => [id, rootOf(id, causes)]));
  return {
    roots,
    checks: checks.map((check): Check => {
      const root = roots.get(check.id);
      if (root === undefined || root === check.id) return check;
      return { ...check, verdict: 'blocked', observed: `${check.observed} (follows from ${root})` };
    }),
  };
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

/** Where all of a machine's sessions are down, the machine is the cause: its first session stands for all. */
function sessionCause(plan: LabPlan, id: string, failed: Failed): string | undefined {
  const peering = plan.bgp.peerings.find((each) => sessionId(each) === id);
  if (peering === undefined) return undefined;
  for (const { machine } of [peering.a, peering.b]) {
    const own = plan.bgp.peerings.filter((each) => joins(each, machine)).map(sessionId);
    if (own.length > 1 && own.every((each) => failed.has(each))) return own[0];
  }
  return undefined;
}

function routeCause(plan: LabPlan, id: string, failed: Failed): string | undefined {
  const check = failed.get(id);
  const about = routeCheckOf(plan, id);
  if (check === undefined || about === undefined) return undefined;
  const below = TABLES.slice(0, TABLES.indexOf(about.table)).reverse();
  const lower = below
    .map((table) => failed.get(`bgp.route.${about.machine}.${table}.${about.prefix}`))
    .find((each) => each !== undefined);
  const seen = hopsOf(check.observed);
  if (lower !== undefined && (lower.observed === check.observed || hopsOf(lower.observed) === undefined))
    return lower.id;
  // The daemon does not answer: what its sessions say about it is the cause.
  if (seen === undefined)
    return plan.bgp.peerings
      .filter((each) => joins(each, about.machine))
      .map(sessionId)
      .find((each) => failed.get(each)?.observed.includes(check.observed) === true);
  const wanted = hopsOf(check.expected) ?? [];
  const differing = [
    ...wanted.filter((hop) => !seen.includes(hop)),
    ...seen.filter((hop) => !wanted.includes(hop)),
  ];
  const causes = differing.map((hop) => hopCause(plan, about, hop, failed));
  return causes.every((cause) => cause !== undefined) ? causes[0] : undefined;
}

/** Why a next hop is missing or too many: no session to it, or it announces wrongly itself. */
function hopCause(plan: LabPlan, { machine, prefix }: RouteCheck, hop: string, failed: Failed) {
  if (hop === OWN) return undefined;
  const owner = plan.machines.find(({ address }) => address === hop)?.name;
  if (owner === undefined || owner === machine) return undefined;
  const session = plan.bgp.peerings.find((each) => joins(each, machine) && joins(each, owner));
  if (session !== undefined && failed.has(sessionId(session))) return sessionId(session);
  const origin = failed.get(`bgp.route.${owner}.bird.${prefix}`);
  const concernsOwn = [origin?.expected, origin?.observed].includes(OWN);
  return origin !== undefined && concernsOwn ? origin.id : undefined;
}

/** kube-proxy of a node is the cause of all of its rules that are not right: the first one stands for all. */
function ruleCause(plan: LabPlan, id: string, failed: Failed): string | undefined {
  const node = plan.machines.find(({ name }) => id.startsWith(ruleCheckId(name, '')))?.name;
  if (node === undefined) return undefined;
  return [...failed.keys()].find((each) => each.startsWith(ruleCheckId(node, '')));
}

function sessionId({ a, b }: PeeringPlan): string {
  return `bgp.session.${a.machine}-${b.machine}`;
}

function joins({ a, b }: PeeringPlan, machine: string): boolean {
  return a.machine === machine || b.machine === machine;
}

/** "10.0.0.1, 10.0.0.2", "1 of" these or "absent" as a list; undefined where it is something else, such as a complaint. */
function hopsOf(text: string): readonly string[] | undefined {
  if (text === 'absent') return [];
  const hops = text.replace(/^\d+ of /, '').split(', ');
  const isHop = (hop: string) => /^(\d+(\.\d+){3}|[a-z-]+|dev \S+)$/.test(hop);
  return hops.every(isHop) ? hops : undefined;
}
