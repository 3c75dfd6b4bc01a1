import pc from 'picocolors';
import type { CellResult, Verdict } from '../matrix/types.ts';
import { checkLines } from './check-lines.ts';
import { groupColumns } from './columns.ts';
import { matrixBlocks } from './matrix-blocks.ts';
import type { LabRun } from './run.ts';
import { summarize, summarizeChecks } from './summary.ts';
import { describeExpected, describeObserved } from './words.ts';
import { wrap, wrapItems } from './wrap.ts';

export interface TableOptions {
  readonly color: boolean;
  /** Columns of the terminal; at least 60, at most 100 are used. */
  readonly width?: number;
  /** Show every check, not only those that did not pass. */
  readonly verbose?: boolean;
}

const MAX_WIDTH = 100;
const MIN_WIDTH = 60;

type Paint = ReturnType<typeof pc.createColors>;

/** The run for people: the matrix, what is wrong with it, the checks and the totals. No line is longer than the width. */
export function renderTable(run: LabRun, options: TableOptions): string {
  const width = Math.max(MIN_WIDTH, Math.min(options.width ?? MAX_WIDTH, MAX_WIDTH));
  const paint = pc.createColors(options.color);
  const sections = [
    ...matrixBlocks(run.cells, width, (result) => symbolOf(result, paint)),
    legend(run, width),
    ...notableCells(run, width, paint),
    checkLines(run.checks, { width, paint, verbose: options.verbose === true }),
    totals(run, width, paint),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

/** Every kind of result has its own sign, so that colour is never needed to tell them apart. */
const SIGNS = {
  works: '✓',
  failsAsExpected: '·',
  failed: '✗',
  flaky: '~',
  harness: '!',
  blocked: '-',
  skipped: 's',
} as const;

function symbolOf(result: CellResult | undefined, paint: Paint): string {
  if (result === undefined) return ' ';
  switch (result.verdict) {
    case 'passed':
      return result.cell.expected.outcome === 'ok'
        ? paint.green(SIGNS.works)
        : paint.dim(SIGNS.failsAsExpected);
    case 'failed':
      return paint.bold(paint.red(SIGNS.failed));
    case 'flaky':
      return paint.yellow(SIGNS.flaky);
    case 'harness':
      return paint.bold(paint.magenta(SIGNS.harness));
    case 'blocked':
      return paint.yellow(SIGNS.blocked);
    case 'skipped':
      return paint.dim(SIGNS.skipped);
  }
}

function legend(run: LabRun, width: number): string[] {
  if (run.cells.length === 0) return ['Nothing was planned, so nothing is known.'];
  const seen = new Set<Verdict>(run.cells.map(({ verdict }) => verdict));
  const signs = [
    `${SIGNS.works} works as expected`,
    `${SIGNS.failsAsExpected} fails as expected`,
    `${SIGNS.failed} wrong`,
    `${SIGNS.harness} not known`,
    ...(seen.has('flaky') ? [`${SIGNS.flaky} right at the second try`] : []),
    ...(seen.has('blocked') ? [`${SIGNS.blocked} blocked`] : []),
    ...(seen.has('skipped') ? [`${SIGNS.skipped} skipped`] : []),
  ];
  const groups = groupColumns(run.cells.map(({ cell }) => cell));
  const explained = new Map<string, string[]>();
  for (const { title, subtitle, columns, names } of groups) {
    const text = columns.map(({ mark }, index) => `${mark} ${names[index]}`).join(', ');
    explained.set(`${title}\n${text}`, [...(explained.get(`${title}\n${text}`) ?? []), subtitle]);
  }
  const columns = [...explained].flatMap(([key, subtitles]) => {
    const [title = '', text = ''] = key.split('\n');
    const [first = '', ...others] = text.split(', ');
    return wrapItems([`${title} ${subtitles.join(' and ')}: ${first}`, ...others], '  ', width, '    ');
  });
  return [...wrapItems(signs, '   ', width, ''), ...columns];
}

function notableCells(run: LabRun, width: number, paint: Paint): readonly string[][] {
  const story = ({ cell, observed, detail }: CellResult) => [
    ...wrap(`expected: ${describeExpected(cell.expected)}`, width, '      ', '    '),
    ...wrap(`observed: ${describeObserved(observed)}`, width, '      ', '    '),
    ...(detail === null ? [] : wrap(`detail: ${detail}`, width, '      ', '    ')),
    ...wrap(`why: ${cell.expected.why}`, width, '      ', '    '),
  ];
  const sections: [Verdict, string][] = [
    ['failed', paint.bold(paint.red('Wrong cells'))],
    ['flaky', paint.yellow('Flaky cells')],
  ];
  const told = sections.flatMap(([verdict, title]) => {
    const results = run.cells.filter((result) => result.verdict === verdict);
    if (results.length === 0) return [];
    return [
      [
        title,
        ...results.flatMap((result) => [...wrap(result.cell.id, width, '    ', '  '), ...story(result)]),
      ],
    ];
  });
  return [...told, ...unknownCells(run, width, paint)];
}

/** Cells that nothing is known about, by reason: a vantage point that broke is one cause, not thirty. */
function unknownCells(run: LabRun, width: number, paint: Paint): readonly string[][] {
  const sections: [Verdict, string][] = [
    ['harness', paint.bold(paint.magenta('Cells that nothing is known about'))],
    ['blocked', paint.yellow('Blocked cells')],
    ['skipped', 'Skipped cells'],
  ];
  return sections.flatMap(([verdict, title]) => {
    const byReason = new Map<string, string[]>();
    for (const { cell, detail, verdict: each } of run.cells) {
      if (each !== verdict) continue;
      const reason = `${cell.from}: ${detail ?? 'no reason given'}`;
      byReason.set(reason, [...(byReason.get(reason) ?? []), cell.id]);
    }
    if (byReason.size === 0) return [];
    const lines = [...byReason].flatMap(([reason, ids]) => [
      ...wrap(reason, width, '    ', '  '),
      ...wrap(
        ids.length === 1 ? `${ids[0]}` : `${ids.length} cells, e.g. ${ids[0]}`,
        width,
        '      ',
        '    ',
      ),
    ]);
    return [[title, ...lines]];
  });
}

function totals(run: LabRun, width: number, paint: Paint): string[] {
  const { planned, ...cells } = summarize(run);
  const checks = summarizeChecks(run);
  const listed = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .filter(([name, count]) => name === 'passed' || count > 0)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const allPassed = cells.passed === planned && planned > 0 && checks.passed === run.checks.length;
  const seconds = (run.durationMs / 1000).toFixed(1);
  const conclusion = `${run.lab}: ${allPassed ? 'everything is as it should be' : 'not everything is as it should be'} (${seconds} s)`;
  return [
    ...wrap(`cells:  ${planned} planned: ${listed(cells)}`, width, '        '),
    ...wrap(`checks: ${run.checks.length} planned: ${listed(checks)}`, width, '        '),
    ...wrap(conclusion, width, '').map((line) => (allPassed ? paint.green(line) : paint.red(line))),
  ];
}
