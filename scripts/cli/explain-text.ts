import type { Explanation } from '../commands/inspect/explain.ts';
import { explainCell } from '../matrix/explain.ts';
import type { Cell } from '../matrix/types.ts';
import { describeExpected, describeObserved } from '../report/words.ts';
import { wrap } from '../report/wrap.ts';

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
