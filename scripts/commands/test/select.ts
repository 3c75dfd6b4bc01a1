import { findCells } from '../../matrix/explain.ts';
import { withControls } from '../../matrix/proof-control.ts';
import type { Cell } from '../../matrix/types.ts';
import type { LabReport } from '../../report/json.ts';
import { exitCodeOf } from '../../report/run.ts';
import { EXIT } from '../../shared/errors.ts';
import type { TestResult } from './reports.ts';

/** Chooses among the cells of a matrix. */
export type Select = (cells: readonly Cell[]) => readonly Cell[];

/**
 * The cells that at least one pattern names, in the order of the matrix; all of them without a pattern. The function
 * throws UserError, with the nearest ids, for a pattern that names none.
 */
export function onlyCells(patterns: readonly string[] = []): Select {
  if (patterns.length === 0) return (cells) => cells;
  return (cells) => {
    const wanted = new Set(patterns.flatMap((pattern) => findCells(cells, pattern)).map(({ id }) => id));
    return cells.filter(({ id }) => wanted.has(id));
  };
}

/** The cells of these ids; one that is no longer in the matrix is no error. */
export function cellsWithIds(ids: readonly string[]): Select {
  const wanted = new Set(ids);
  return (cells) => cells.filter(({ id }) => wanted.has(id));
}

/** Both, one after the other. */
export function both(first: Select, second: Select): Select {
  return (cells) => second(first(cells));
}

/** What another one chooses, and the positive controls without which its cells that must fail would prove nothing. */
export function controlled(select: Select): Select {
  return (cells) => withControls(cells, select(cells));
}

/** The ids of those cells of reports that were not right. */
export function failedCells(cells: readonly LabReport['cells'][number][]): readonly string[] {
  return cells.filter(({ verdict }) => !['passed', 'skipped'].includes(verdict)).map(({ id }) => id);
}

/** True if a run of some cells was right, or had no cell at all to be wrong. */
export function isRight({ run, planned }: TestResult): boolean {
  const wrong = [...run.cells, ...run.checks].some(({ verdict }) => !['passed', 'skipped'].includes(verdict));
  return !wrong && (planned.length === 0 || exitCodeOf(run) === EXIT.pass);
}
