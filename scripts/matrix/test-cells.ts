import { cellsToRetry, judgeCells } from './judge.ts';
import type { RunCellsOptions } from './run.ts';
import { runCells } from './run.ts';
import type { Cell, CellResult, DnsAnswer } from './types.ts';
import type { Vantage } from './vantages.ts';

export interface MatrixResults {
  /** One result per cell, in the order of the cells. */
  readonly results: readonly CellResult[];
  readonly dns: ReadonlyMap<string, DnsAnswer>;
}

/**
 * Probes the whole matrix and judges it: every cell and DNS question at once, then the cells that failed once more, by
 * themselves. Throws Interrupted on abort.
 */
export async function testCells(
  cells: readonly Cell[],
  vantages: ReadonlyMap<string, Vantage>,
  options: RunCellsOptions = {},
): Promise<MatrixResults> {
  const open = cells.filter(({ blockedBy }) => blockedBy === undefined);
  const first = await runCells(open, vantages, options);
  const again = cellsToRetry(open, first.cells);
  const { dns: _asked, ...withoutDns } = options;
  const retried = again.length === 0 ? undefined : await runCells(again, vantages, withoutDns);
  return { results: judgeCells(cells, first.cells, retried?.cells), dns: first.dns };
}
