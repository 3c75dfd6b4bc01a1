import { roundError, type WatchRound } from '../commands/test/watch.ts';
import { hasChanges, renderDiff } from '../report/diff.ts';
import { conclusionOf } from '../report/summary.ts';
import { renderTable } from '../report/table.ts';

/** A round for people: the whole table the first time, then one line, and below it what has changed. */
export function roundText(
  round: WatchRound,
  options: { readonly color: boolean; readonly width: number },
): string {
  const clock = new Date().toTimeString().slice(0, 8);
  if ('error' in round) return `${clock}  not tested: ${roundError(round)}`;
  const { result, changes } = round;
  if (changes === undefined) return renderTable(result.run, { ...options, verbose: false });
  const line = `${clock}  ${conclusionOf(result.run).text}`;
  return hasChanges(changes) ? `${line}\n\n${renderDiff(changes, options)}` : line;
}

/** A round as a part of a JSON document. */
export function roundJson(round: WatchRound): unknown {
  if ('error' in round) return { error: roundError(round) };
  const { report, changes } = round;
  const { startedAt, durationMs, summary } = report;
  const ids = (items: readonly { readonly id: string }[] = []) => items.map(({ id }) => id);
  return {
    startedAt,
    durationMs,
    summary,
    newFailures: ids(changes?.newFailures),
    fixed: ids(changes?.fixed),
    changedExpectation: ids(changes?.changedExpectation),
    failingChecks: ids(report.checks.filter(({ verdict }) => verdict === 'failed')),
  };
}
