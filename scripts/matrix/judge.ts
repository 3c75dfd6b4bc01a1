import { notObserved } from './run.ts';
import type { Cell, CellResult, Observation, Verdict } from './types.ts';

/** The cells whose first try failed: to be probed once more, with nothing else running beside them. */
export function cellsToRetry(
  cells: readonly Cell[],
  first: ReadonlyMap<string, Observation>,
): readonly Cell[] {
  return cells.filter((cell) => {
    const seen = first.get(cell.id);
    return seen !== undefined && judgeOnce(cell, seen).verdict === 'failed';
  });
}

/**
 * One verdict per cell, in the order of `cells`. `first` must hold every cell that is tried; a missing one is a harness error. A cell
 * that chance decides is failed. A failed cell whose retry is right is flaky. A cell that rightly fails proves something only if
 * another cell from the same source got through in the same run; otherwise its verdict is harness, or blocked
 * where those that had to get through are blocked.
 */
export function judgeCells(
  cells: readonly Cell[],
  first: ReadonlyMap<string, Observation>,
  retried: ReadonlyMap<string, Observation> = new Map(),
): readonly CellResult[] {
  const results = cells.map((cell) => judgeCell(cell, first.get(cell.id), retried.get(cell.id)));
  const controlled = new Set(
    results
      .filter(({ cell, verdict }) => verdict === 'passed' && cell.expected.outcome === 'ok')
      .map(({ cell }) => cell.from),
  );
  const blocked = new Map(
    cells.flatMap(({ from, expected, blockedBy }): [string, string][] =>
      blockedBy === undefined || expected.outcome !== 'ok' ? [] : [[from, blockedBy]],
    ),
  );
  return results.map((result) => withControl(result, controlled, blocked));
}

function judgeCell(cell: Cell, first: Observation | undefined, retried: Observation | undefined): CellResult {
  if (cell.blockedBy !== undefined)
    return { cell, observed: null, verdict: 'blocked', detail: `not tried: ${cell.blockedBy} failed` };
  if (cell.skipped !== undefined) return { cell, observed: null, verdict: 'skipped', detail: cell.skipped };
  if (cell.chance !== undefined)
    return {
      cell,
      observed: null,
      verdict: 'failed',
      detail: `${cell.chance}, so one try would prove nothing`,
    };
  const judged = judgeOnce(cell, first ?? notObserved('it was never probed'));
  if (judged.verdict !== 'failed' || retried === undefined) return judged;
  const again = judgeOnce(cell, retried);
  const attempts = (judged.observed?.attempts ?? 0) + retried.attempts;
  if (again.verdict === 'passed' && again.observed !== null)
    return {
      cell,
      observed: { ...again.observed, attempts },
      verdict: 'flaky',
      detail: `first try: ${judged.observed?.outcome}${judged.detail === null ? '' : `, ${judged.detail}`}`,
    };
  return judged.observed === null ? judged : { ...judged, observed: { ...judged.observed, attempts } };
}

/** The verdict of one observation. */
function judgeOnce(cell: Cell, seen: Observation): CellResult {
  const observed = { ...seen, outcome: derivedOutcome(cell, seen) };
  const { verdict, detail } = compare(cell, observed);
  return { cell, observed, verdict, detail };
}

/** An answer from the wrong pod, or one that shows the wrong client address, is not ok. */
function derivedOutcome({ expected }: Cell, seen: Observation): Observation['outcome'] {
  if (seen.outcome !== 'ok' || expected.outcome !== 'ok') return seen.outcome;
  if (seen.server === null || !expected.servers.includes(seen.server)) return 'wrong-backend';
  if (seen.client === null || !expected.clients.includes(seen.client)) return 'wrong-source';
  return 'ok';
}

function compare(
  { expected }: Cell,
  observed: Observation,
): { readonly verdict: Verdict; readonly detail: string | null } {
  if (observed.outcome === 'harness-error') return { verdict: 'harness', detail: observed.detail };
  if (observed.outcome === expected.outcome) return { verdict: 'passed', detail: null };
  if (observed.outcome === 'wrong-backend')
    return { verdict: 'failed', detail: `answered by ${observed.server}, not by ${anyOf(expected.servers)}` };
  if (observed.outcome === 'wrong-source')
    return { verdict: 'failed', detail: `the server saw ${observed.client}, not ${anyOf(expected.clients)}` };
  if (observed.outcome === 'ok')
    return { verdict: 'failed', detail: `it got through to ${observed.server} as ${observed.client}` };
  return { verdict: 'failed', detail: observed.detail };
}

function anyOf(addresses: readonly string[]): string {
  return addresses.join(' or ') || 'anyone';
}

function withControl(
  result: CellResult,
  controlled: ReadonlySet<string>,
  blocked: ReadonlyMap<string, string>,
): CellResult {
  const { cell, verdict } = result;
  const isNegative = cell.expected.outcome !== 'ok' && (verdict === 'passed' || verdict === 'flaky');
  if (!isNegative || controlled.has(cell.from)) return result;
  const cause = blocked.get(cell.from);
  if (cause !== undefined)
    return {
      ...result,
      verdict: 'blocked',
      detail: `nothing could get through from ${cell.from}: ${cause} failed`,
    };
  return {
    ...result,
    verdict: 'harness',
    detail: `nothing got through from ${cell.from} in this run, so a failure there proves nothing`,
  };
}
