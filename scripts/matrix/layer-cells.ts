import { type Check, checkId } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import { groupBy } from '../shared/group.ts';
import { inAny, lengthOf } from './addresses.ts';
import { flowSources } from './cells.ts';
import { type Fact, factsOf } from './expect/facts.ts';
import { networkOf } from './expect/network-state.ts';
import { walk } from './expect/walk.ts';
import { blockedBy, type LayeredChecks } from './layers.ts';
import { wrongChains } from './rule-checks.ts';
import type { ObservedState } from './state/types.ts';
import type { Cell, CellResult } from './types.ts';

/**
 * Marks the cells whose trace rests on something that failed its check as blocked by the check at the bottom: a machine's
 * route to the target, to a backend or back to the client, a chain of a node's rules, the masquerading of its pods, its
 * link with them. Pure.
 */
export function blockCells(
  plan: LabPlan,
  state: ObservedState,
  { checks, roots }: LayeredChecks,
  cells: readonly Cell[],
): readonly Cell[] {
  if (roots.size === 0) return cells;
  const network = networkOf(state);
  const sources = new Map(flowSources(plan, state).map((source) => [source.name, source]));
  const byMachine = groupBy(checks, ({ subject }) => ('machine' in subject ? subject.machine : undefined));
  return cells.map((cell) => {
    const from = sources.get(cell.from);
    if (cell.blockedBy !== undefined || from === undefined) return cell;
    const facts = factsOf(network, walk(network, from, cell));
    const failing = new Set(
      facts
        .flatMap((fact) => checksAbout(fact, byMachine.get(fact.machine) ?? []))
        .filter((id) => roots.has(id)),
    );
    const root = roots.get(checks.find(({ id }) => failing.has(id))?.id ?? '');
    if (root === undefined) return cell;
    const { skipped: _unknown, chance: _undecided, ...rest } = cell;
    return { ...rest, blockedBy: root };
  });
}

/** The ids of a machine's checks that are about a fact. */
function checksAbout(fact: Fact, checks: readonly Check[]): readonly string[] {
  switch (fact.kind) {
    case 'route': {
      // A route that is not there can be longer than the one that was found, but none that is shorter matters.
      const { destination, prefix: found } = fact;
      const covering = checks.flatMap((check) =>
        check.kind === 'route' && inAny([check.subject.prefix], destination)
          ? [{ id: check.id, length: lengthOf(check.subject.prefix) }]
          : [],
      );
      const most = Math.max(
        found === undefined ? 0 : lengthOf(found),
        ...covering.map(({ length }) => length),
      );
      return covering.filter(({ length }) => length === most).map(({ id }) => id);
    }
    case 'chain':
      return checks.flatMap((check) =>
        check.kind === 'service-rules' && wrongChains(check).includes(fact.chain) ? [check.id] : [],
      );
    case 'masquerade':
      return checks.flatMap((check) => (check.kind === 'masquerading' ? [check.id] : []));
    case 'pod-link':
      return checks.flatMap((check) => (check.kind === 'pod-gateway' ? [check.id] : []));
  }
}

/**
 * The DNS checks in order, and the results of cells whose name did not resolve. Checks that fail in the same way for the
 * want of an answer are one cause, which the first of them stands for; a cell whose name failed its own check is blocked
 * by it. Pure.
 */
export function layerDns(
  dns: readonly Check[],
  results: readonly CellResult[],
): { readonly checks: readonly Check[]; readonly results: readonly CellResult[] } {
  const roots = new Map<string, string>();
  for (const check of dns) {
    if (check.verdict !== 'failed') continue;
    const first = dns.find(({ verdict, reason }) => verdict === 'failed' && reason === 'no-answer');
    roots.set(check.id, check.reason === 'no-answer' ? (first?.id ?? check.id) : check.id);
  }
  return {
    checks: dns.map((check) => blockedBy(check, roots.get(check.id))),
    results: results.map((result): CellResult => {
      const { cell, observed, verdict } = result;
      const didNotResolve = observed?.outcome === 'dns-error' || observed?.outcome === 'dns-nxdomain';
      const root = roots.get(checkId('dns', { from: cell.from, type: 'A', name: cell.address }));
      if (verdict !== 'failed' || cell.kind !== 'name' || !didNotResolve || root === undefined) return result;
      return { ...result, verdict: 'blocked', finding: { reason: 'name-blocked', by: root } };
    }),
  };
}
