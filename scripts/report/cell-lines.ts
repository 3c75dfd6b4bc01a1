import type pc from 'picocolors';
import type { CellResult, Verdict } from '../matrix/types.ts';
import { type Cause, cellCauses, countText, reasonCauses } from './causes.ts';
import { describeEvidence, describeFinding } from './cell-text.ts';
import { KIND_TEXTS } from './kinds.ts';
import { describeCells, describeExpected, describeObserved } from './words.ts';
import { wrap } from './wrap.ts';

export interface CellLineOptions {
  readonly width: number;
  readonly paint: ReturnType<typeof pc.createColors>;
}

/** More lines of ids than this help nobody in a terminal; the other reports have them all. */
const MAX_ID_LINES = 5;

/** The cells that did not simply pass, one block per verdict and in it one entry per cause. */
export function notableCells(
  results: readonly CellResult[],
  { width, paint }: CellLineOptions,
): readonly string[][] {
  const sections: readonly [Verdict, string, (cause: Cause<CellResult>, width: number) => string[]][] = [
    ['failed', paint.bold(paint.red('Wrong cells')), storyLines],
    ['flaky', paint.yellow('Flaky cells'), storyLines],
    ['harness', paint.bold(paint.magenta('Cells that nothing is known about')), reasonLine],
    ['blocked', paint.yellow('Blocked cells'), reasonLine],
    ['skipped', 'Skipped cells', reasonLine],
  ];
  return sections.flatMap(([verdict, title, lines]) => {
    const causes = lines === storyLines ? cellCauses(results, verdict) : reasonCauses(results, verdict);
    return causes.length === 0 ? [] : [[title, ...causes.flatMap((cause) => lines(cause, width))]];
  });
}

/** What was expected and seen, told once; where addresses differ from cell to cell, those of the first one. */
function storyLines({ first, members }: Cause<CellResult>, width: number): string[] {
  const { cell, observed, evidence, verdict } = first;
  const detail = describeFinding(first);
  const { sign } = KIND_TEXTS[verdict === 'passed' ? 'works' : verdict];
  const line = (label: string, text: string) => wrap(`${label}: ${text}`, width, '      ', '    ');
  const heading =
    members.length === 1
      ? wrap(`${sign} ${cell.id}`, width, '      ', '  ')
      : wrap(`${sign} ${countText(members.length, 'cell')}, e.g. ${cell.id}`, width, '      ', '  ');
  return [
    ...heading,
    ...line('expected', describeExpected(cell.expected)),
    ...line('observed', `${describeObserved(observed)}${detail === null ? '' : `: ${detail}`}`),
    ...(evidence === undefined ? [] : line('where', describeEvidence(evidence))),
    ...line('why', cell.expected.why),
    ...(members.length === 1 ? [] : idLines(members, width)),
  ];
}

function idLines(members: readonly CellResult[], width: number): string[] {
  const [head = '', ...rest] = describeCells(members.map(({ cell }) => cell));
  const lines = [`all: ${head}`, ...rest].flatMap((text) => wrap(text, width, '      ', '    '));
  if (lines.length <= MAX_ID_LINES) return lines;
  return [...lines.slice(0, MAX_ID_LINES - 1), '      ... (the rest with --json or --html)'];
}

/** One line per cause: a source that broke is one cause, not thirty. */
function reasonLine({ first, members }: Cause<CellResult>, width: number): string[] {
  const { sign } = KIND_TEXTS[first.verdict === 'passed' ? 'works' : first.verdict];
  const froms = [...new Set(members.map(({ cell }) => cell.from))];
  const what = members.length === 1 ? first.cell.id : `${members.length} cells from ${listed(froms)}`;
  return wrap(`${sign} ${what}: ${describeFinding(first) ?? 'no reason given'}`, width, '      ', '  ');
}

function listed(froms: readonly string[]): string {
  return froms.length <= 6
    ? froms.join(', ')
    : `${froms.slice(0, 4).join(', ')} and ${froms.length - 4} more`;
}
