import { type Check, makeCheck } from '../bgp/checks/check.ts';
import { MISS_PROBABILITY } from './ecmp.ts';
import { networkOf } from './expect/network-state.ts';
import type { CellToRun } from './run.ts';
import type { ObservedState } from './state/types.ts';
import type { Cell, CellResult, Observation } from './types.ts';

/** More connections of one cell, which must all be answered by the same pod. */
export interface AffinityPlan {
  readonly cell: Cell;
  /** The node that chooses the pod. */
  readonly node: string;
  /** The first one reminds the node of the client: it may have forgotten it (timeoutSeconds). The others are judged. */
  readonly flows: readonly CellToRun[];
}

/** When the others begin after the first one, in milliseconds: long enough for it, and less than any timeoutSeconds. */
const REMINDED_MS = 300;

/**
 * How many connections it takes so that equally likely pods, chosen without any affinity, are all the same one with at
 * most this probability: n(1/n)^k.
 */
export function attemptsFor(pods: number, missProbability = MISS_PROBABILITY): number {
  return 1 + Math.ceil(-Math.log(missProbability) / Math.log(pods));
}

/**
 * The connections that show whether a client stays with one pod: for every cell that was answered, whose service has
 * sessionAffinity ClientIP, and for which one node chooses among several pods. To be made when the cells have been tried:
 * then each node has remembered a pod for each client, and which connection came first does not matter any more. Pure.
 */
export function planAffinity(state: ObservedState, results: readonly CellResult[]): readonly AffinityPlan[] {
  const network = networkOf(state);
  return results.flatMap(({ cell, verdict }): AffinityPlan[] => {
    const { service = '', expected, controlOf, id } = cell;
    if (network.service(service)?.affinity !== 'ClientIP' || controlOf !== undefined) return [];
    if (verdict !== 'passed' || expected.servers.length < 2) return [];
    const nodes = new Set(
      expected.chain
        .filter(({ chains }) => chains?.some((name) => /^KUBE-(SVC|SVL|XLB)-/.test(name)))
        .map(({ at }) => at),
    );
    const [node, another] = nodes;
    if (node === undefined || another !== undefined) return [];
    const flows = Array.from({ length: 1 + attemptsFor(expected.servers.length) }, (_, index) => ({
      ...cell,
      id: `${id}#${index}`,
      ...(index === 0 ? {} : { delayMs: REMINDED_MS }),
    }));
    return [{ cell, node, flows }];
  });
}

/** Whether the connections of each plan were answered by one pod. */
export function checkAffinity(
  state: ObservedState,
  plans: readonly AffinityPlan[],
  seen: ReadonlyMap<string, Observation>,
): readonly Check[] {
  const network = networkOf(state);
  return plans.map(({ cell, node, flows: [, ...flows] }): Check => {
    const observations = flows.map(({ id }) => seen.get(id));
    const counts = new Map<string, number>();
    for (const observed of observations) {
      const name =
        observed?.outcome === 'ok' && observed.server !== null
          ? (network.podsAt(observed.server)[0]?.name ?? observed.server)
          : (observed?.outcome ?? 'harness-error');
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const reason = counts.has('harness-error')
      ? 'not-read'
      : observations.some((observed) => observed?.outcome !== 'ok')
        ? 'unanswered'
        : counts.size === 1
          ? 'as-wanted'
          : 'several-pods';
    return makeCheck(
      'affinity',
      { cell: cell.id },
      {
        reason,
        wanted: { from: cell.from, to: cell.to, service: cell.service ?? '', node },
        seen: {
          flows: flows.length,
          counts: [...counts].map(([answer, count]) => ({ answer, count })),
        },
      },
    );
  });
}
