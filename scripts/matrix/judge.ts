import type { Finding } from './findings.ts';
import { controlsFrom, isItsOwnControl } from './proof-control.ts';
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
 * a control from the same source (proof-control.ts) passed in the same run; otherwise its verdict is harness, or blocked
 * where those that had to get through are blocked.
 */
export function judgeCells(
  cells: readonly Cell[],
  first: ReadonlyMap<string, Observation>,
  retried: ReadonlyMap<string, Observation> = new Map(),
): readonly CellResult[] {
  const results = cells.map((cell) => judgeCell(cell, first.get(cell.id), retried.get(cell.id)));
  const passed = new Set(results.flatMap(({ cell, verdict }) => (verdict === 'passed' ? [cell.id] : [])));
  const sources = [...new Set(cells.map(({ from }) => from))];
  // Of a source from which nothing gets through the proof (proof.ts) demands that another machine's rule has counted something.
  const counted = cells.filter((cell) => isItsOwnControl(cell, cells));
  const controlled = new Set(
    sources.filter((from) =>
      [...controlsFrom(from, cells), ...counted.filter((cell) => cell.from === from)].some(({ id }) =>
        passed.has(id),
      ),
    ),
  );
  const blocked = new Map(
    cells.flatMap(({ from, expected, blockedBy }): [string, string][] =>
      blockedBy === undefined || expected.outcome !== 'ok' ? [] : [[from, blockedBy]],
    ),
  );
  return results.map((result) =>
    counted.includes(result.cell) ? result : withControl(result, controlled, blocked),
  );
}

function judgeCell(cell: Cell, first: Observation | undefined, retried: Observation | undefined): CellResult {
  if (cell.blockedBy !== undefined)
    return untried(cell, 'blocked', { reason: 'blocked', by: cell.blockedBy });
  if (cell.skipped !== undefined)
    return untried(cell, 'skipped', { reason: 'not-modelled', what: cell.skipped });
  if (cell.chance !== undefined) return untried(cell, 'failed', { reason: 'chance', what: cell.chance });
  const judged = judgeOnce(cell, first ?? notObserved('it was never probed'));
  if (judged.verdict !== 'failed' || retried === undefined) return judged;
  const again = judgeOnce(cell, retried);
  const attempts = judged.observed.attempts + retried.attempts;
  if (again.verdict === 'passed') {
    const { outcome, detail } = judged.observed;
    const finding = { reason: 'second-try', outcome, said: detail } as const;
    return { cell, observed: { ...again.observed, attempts }, verdict: 'flaky', finding };
  }
  return { ...judged, observed: { ...judged.observed, attempts } };
}

/** The verdict of one observation. */
function judgeOnce(cell: Cell, seen: Observation): CellResult & { readonly observed: Observation } {
  const observed = { ...seen, outcome: derivedOutcome(cell, seen) };
  return { cell, observed, ...compare(cell, observed) };
}

/** An answer from the wrong pod, or one that shows the wrong client address, is not ok. */
function derivedOutcome(cell: Cell, seen: Observation): Observation['outcome'] {
  const { expected, protocol } = cell;
  const isAnswer = seen.outcome === 'ok' || isSilent(cell, seen);
  if (!isAnswer || expected.outcome !== 'ok' || isUntracked(cell, seen)) return seen.outcome;
  if (seen.server === null || !expected.servers.includes(seen.server)) return 'wrong-backend';
  if (protocol === 'icmp') return 'ok';
  if (seen.client === null || !expected.clients.includes(seen.client)) return 'wrong-source';
  return seen.outcome;
}

/** A datagram came to a backend (conntrack.ts), and nothing came back: an application that is not known may do so. */
function isSilent({ talk, protocol }: Cell, { outcome, server }: Observation): boolean {
  return talk !== undefined && protocol === 'udp' && outcome === 'timeout' && server !== null;
}

/** It was answered, but no machine could tell by whom. */
function isUntracked({ talk }: Cell, { outcome, server }: Observation): boolean {
  return talk !== undefined && outcome === 'ok' && server === null;
}

function untried(cell: Cell, verdict: Verdict, finding: Finding): CellResult {
  return { cell, observed: null, verdict, finding };
}

function compare(cell: Cell, observed: Observation): Pick<CellResult, 'verdict' | 'finding'> {
  const { expected, httpStatus: wanted } = cell;
  const { outcome, server, client, detail, httpStatus: status } = observed;
  if (expected.outcome === 'ok' && isUntracked(cell, observed))
    return { verdict: 'harness', finding: { reason: 'not-tracked' } };
  if (isSilent(cell, observed) && server !== null && client !== null)
    return expected.outcome === 'ok'
      ? { verdict: 'skipped', finding: { reason: 'silent', server } }
      : { verdict: 'failed', finding: { reason: 'received', pod: server, client, from: cell.from } };
  if (outcome === 'ok' && expected.outcome === 'ok' && wanted !== undefined && status !== wanted)
    return { verdict: 'failed', finding: { reason: 'wrong-status', status: status ?? null, wanted } };
  if (outcome === expected.outcome && outcome !== 'harness-error')
    return { verdict: 'passed', finding: null };
  switch (outcome) {
    case 'harness-error':
      return {
        verdict: 'harness',
        finding: { reason: 'probe-failed', said: detail ?? 'it does not say why' },
      };
    case 'wrong-backend':
      return { verdict: 'failed', finding: { reason: outcome, server, wanted: expected.servers } };
    case 'wrong-source':
      return { verdict: 'failed', finding: { reason: outcome, client, wanted: expected.clients } };
    case 'ok':
      return { verdict: 'failed', finding: { reason: 'got-through', server, client } };
    default:
      return { verdict: 'failed', finding: { reason: 'other-outcome', said: detail } };
  }
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
      finding: { reason: 'source-blocked', by: cause, from: cell.from },
    };
  return { ...result, verdict: 'harness', finding: { reason: 'no-control', from: cell.from } };
}
