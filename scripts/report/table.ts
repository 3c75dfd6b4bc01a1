import pc from 'picocolors';
import type { CellResult } from '../matrix/types.ts';
import { notableCells } from './cell-lines.ts';
import { checkLines } from './check-lines.ts';
import { groupColumns } from './columns.ts';
import { KIND_TEXTS, type Kind, kindOf, kindsToExplain } from './kinds.ts';
import { matrixBlocks } from './matrix-blocks.ts';
import type { LabRun } from './run.ts';
import { conclusionOf, summarize, summarizeChecks } from './summary.ts';
import { describeControl } from './words.ts';
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
    controls(run, width),
    ...notableCells(run.cells, { width, paint }),
    checkLines(run.checks, { width, paint, verbose: options.verbose === true }),
    totals(run, width, paint),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function symbolOf(result: CellResult | undefined, paint: Paint): string {
  if (result === undefined) return ' ';
  const kind = kindOf(result);
  return painters(paint)[kind](KIND_TEXTS[kind].sign);
}

function painters(paint: Paint): Readonly<Record<Kind, (text: string) => string>> {
  return {
    works: paint.green,
    'fails-as-expected': paint.dim,
    failed: (text) => paint.bold(paint.red(text)),
    flaky: paint.yellow,
    harness: (text) => paint.bold(paint.magenta(text)),
    blocked: paint.yellow,
    skipped: paint.dim,
  };
}

function legend(run: LabRun, width: number): string[] {
  if (run.cells.length === 0) return ['Nothing was planned, so nothing is known.'];
  const signs = kindsToExplain(run.cells).map((kind) => `${KIND_TEXTS[kind].sign} ${KIND_TEXTS[kind].text}`);
  const groups = groupColumns(run.cells.map(({ cell }) => cell));
  const explained = new Map<string, string[]>();
  for (const { title, subtitle, columns, names } of groups) {
    const text = columns.map(({ mark }, index) => `${mark} ${names[index]}`).join(', ');
    explained.set(`${title}\n${text}`, [...(explained.get(`${title}\n${text}`) ?? []), subtitle]);
  }
  const columns = [...explained].flatMap(([key, subtitles]) => {
    const [title = '', text = ''] = key.split('\n');
    return wrapItems([`${title} ${subtitles.join(' and ')}:`, ...text.split(', ')], '  ', width, '    ');
  });
  return [...wrapItems(signs, '   ', width, ''), ...columns];
}

function controls({ cells }: LabRun, width: number): string[] {
  return cells.flatMap(({ cell: { id, controlOf } }) =>
    controlOf === undefined ? [] : wrap(`${id}: ${describeControl(controlOf)}`, width, '    '),
  );
}

function totals(run: LabRun, width: number, paint: Paint): string[] {
  const { planned, ...cells } = summarize(run);
  const checks = summarizeChecks(run);
  const listed = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .filter(([name, count]) => name === 'passed' || count > 0)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const { right, text } = conclusionOf(run);
  const conclusion = `${run.lab}: ${text} (${(run.durationMs / 1000).toFixed(1)} s)`;
  const notes = [
    ...(run.aborted === undefined ? [] : wrap(`aborted: ${run.aborted}`, width, '  ').map(paint.red)),
    ...(run.moved ?? []).flatMap((change) =>
      wrap(`changed during the run: ${change}`, width, '  ').map(paint.yellow),
    ),
  ];
  const chosen = run.chosenFrom === undefined ? '' : ` of ${run.chosenFrom}`;
  return [
    ...wrap(`cells:  ${planned}${chosen} planned: ${listed(cells)}`, width, '        '),
    ...wrap(`checks: ${run.checks.length} planned: ${listed(checks)}`, width, '        '),
    ...notes,
    ...wrap(conclusion, width, '').map((line) => (right ? paint.green(line) : paint.red(line))),
  ];
}
