import { readFile } from 'node:fs/promises';
import { unseenCheck } from '../bgp/checks/check.ts';
import type { Explanation } from '../commands/inspect/predict.ts';
import type { SelftestResult } from '../commands/selftest/selftest.ts';
import { roundError, type WatchRound } from '../commands/test/labtest.ts';
import { explainCell } from '../matrix/explain.ts';
import type { Cell } from '../matrix/types.ts';
import { hasChanges, renderDiff } from '../report/diff.ts';
import { conclusionOf, type LabRun } from '../report/run.ts';
import { renderTable } from '../report/table.ts';
import { describeExpected, describeObserved } from '../report/words.ts';
import type { FaultResult } from '../selftest/run.ts';
import { EXIT, type ExitCode, LabError, messageOf, UserError } from '../shared/errors.ts';
import { writeAtomic } from '../shared/files.ts';
import { wrap } from '../shared/text.ts';
import { colors, durationText } from './text.ts';

/** One cell's expectation as a part of a JSON document. */
export function predictionJson({
  id,
  from,
  to,
  address,
  port,
  protocol,
  expected,
  blockedBy,
  skipped,
  chance,
}: Cell): object {
  return {
    ...{ id, from, to, address, port, protocol, expected },
    ...(blockedBy === undefined ? {} : { blockedBy }),
    ...(skipped === undefined ? {} : { skipped }),
    ...(chance === undefined ? {} : { chance }),
  };
}

/** Every cell with its expectation, and how many there are. */
export function predictionLines(cells: readonly Cell[], width: number): readonly string[] {
  const longest = Math.min(60, Math.max(0, ...cells.map(({ id }) => id.length)));
  return [
    ...cells.flatMap((cell) =>
      wrap(`${cell.id.padEnd(longest)}  ${wordsFor(cell)}`, width, ' '.repeat(longest + 2)),
    ),
    '',
    `${cells.length} cells; why, step by step: npx lab explain CELL`,
  ];
}

function wordsFor({ expected, blockedBy, skipped, chance }: Cell): string {
  if (blockedBy !== undefined) return `not known: ${blockedBy} failed`;
  if (skipped !== undefined) return `not known: ${skipped}`;
  return `${describeExpected(expected)}${chance === undefined ? '' : `, but ${chance}`}`;
}

/** A cell's expectation with the packet's path, then what the last run saw of it. */
export function explanationLines({ cell, last }: Explanation, width: number): readonly string[] {
  return [...explainCell(cell).flatMap((line) => wrapped(line, width)), ...lastLines(last, width)];
}

/** A step of the path continues below its own text, any other line a little to the right. */
function wrapped(line: string, width: number): readonly string[] {
  if (line.length <= width) return [line];
  const step = /^ +\d+\. +\S+ +\S+ +/.exec(line)?.[0].length;
  const start = /^ */.exec(line)?.[0] ?? '';
  return wrap(line.slice(start.length), width, ' '.repeat(step ?? start.length + 2), start);
}

function lastLines(last: Explanation['last'], width: number): readonly string[] {
  if (last === undefined) return ['  last labtest: did not try it'];
  const { startedAt, result } = last;
  const { observed, verdict, detail, proof, evidence } = result;
  const when = startedAt.replace('T', ' ').slice(0, 19);
  const indented = (text: string) => wrap(text, width, '      ', '  ');
  return [
    ...indented(`last labtest (${when} UTC): ${verdict}, ${describeObserved(observed)}`),
    ...(detail === undefined ? [] : indented(`it said: ${detail}`)),
    ...(proof === undefined ? [] : ['  what proves that it failed where it had to:']),
    ...(proof ?? []).flatMap((sentence) => wrap(`- ${sentence}`, width, '      ', '    ')),
    ...(evidence === undefined ? [] : indented(`where it went wrong: ${evidence.sentence}`)),
    ...(evidence?.hops ?? []).flatMap(({ at, agrees, text }) =>
      wrap(`${agrees ? '✓' : '✗'} ${at}: ${text}`, width, '        ', '    '),
    ),
    ...(evidence?.file === undefined ? [] : indented(`everything that was seen: ${evidence.file}`)),
  ];
}

/** 0 where every fault that the lab is large enough for was found, there was at least one, and the lab is as it was. */
export function selftestCode({ faults, differs }: SelftestResult): ExitCode {
  const missed = faults.some(({ verdict }) => verdict === 'missed');
  return !missed && differs.length === 0 && faults.some(({ verdict }) => verdict === 'found')
    ? EXIT.pass
    : EXIT.wrong;
}

/** The result as one document. */
export function selftestJson(result: SelftestResult): unknown {
  const { lab, startedAt, durationMs, faults, differs } = result;
  return {
    schemaVersion: 1,
    lab,
    startedAt: startedAt.toISOString(),
    durationMs,
    summary: { planned: faults.length, ...countsOf(faults) },
    faults,
    differs,
  };
}

/** One entry per fault: found or not, and the sentence that told it. */
export function selftestLines(result: SelftestResult, width: number): readonly string[] {
  const { faults, durationMs, lab, differs } = result;
  const { found, missed, skipped } = countsOf(faults);
  const tried = found + missed;
  const conclusion = `${lab}: ${found} of ${tried} faults found${skipped > 0 ? `, ${skipped} not tried` : ''} (${durationText(durationMs)})`;
  return [
    ...faults.flatMap((fault) => faultLines(fault, width)),
    ...(differs.length === 0
      ? []
      : [
          '',
          colors.red('The lab is not as it was before the selftest:'),
          ...differs.flatMap((line) => wrap(line, width, '      ', '    ')),
          '    next: npx labtest, npx labup --yes',
        ]),
    '',
    missed === 0 && differs.length === 0 && found > 0 ? colors.green(conclusion) : colors.red(conclusion),
  ];
}

const SIGNS: Readonly<Record<FaultResult['verdict'], string>> = { found: '✓', missed: '✗', skipped: 's' };

function faultLines({ id, title, verdict, text, ms }: FaultResult, width: number): readonly string[] {
  const time = verdict === 'skipped' ? '' : ` (${durationText(ms)})`;
  const line = `${SIGNS[verdict]} ${id}: ${title}${time}`;
  return [
    ...wrap(verdict === 'missed' ? `${line} NOT FOUND` : line, width, '    '),
    ...wrap(text, width, '      ', '    '),
  ];
}

function countsOf(faults: readonly FaultResult[]): Readonly<Record<FaultResult['verdict'], number>> {
  const count = (verdict: FaultResult['verdict']) => faults.filter((each) => each.verdict === verdict).length;
  return { found: count('found'), missed: count('missed'), skipped: count('skipped') };
}

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

/** A labtest that came to no result, as a run: no cell, and one check that says why. */
export function failedRun(startedAt: Date, error: unknown): LabRun {
  return {
    lab: '',
    startedAt,
    durationMs: Date.now() - startedAt.getTime(),
    checks: [
      unseenCheck(
        'run',
        {},
        {},
        {
          fault: 'harness',
          detail: [messageOf(error), ...(error instanceof LabError ? error.details : [])].join('; '),
        },
      ),
    ],
    cells: [],
  };
}

/** Writes a file that the user asked for: all of it or none. Throws UserError, naming the option, where it cannot be written. */
export async function saveFile(path: string, content: string, what: string, option: string): Promise<void> {
  await writeAtomic(path, content).catch((cause: unknown) => {
    throw new UserError(`The ${what} cannot be written: ${messageOf(cause)}`, {
      next: `give ${option} another path`,
      cause,
    });
  });
}

/** The text of the report that --diff names. Throws UserError where it cannot be read. */
export async function loadFile(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UserError(`The file cannot be read: ${messageOf(cause)}`, {
      next: 'give --diff the path of a file that labtest --json wrote',
      cause,
    });
  });
}
