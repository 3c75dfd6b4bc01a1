import type { Cell, CellResult } from './types.ts';

/** A connection that got through, from the same vantage point in the same run. */
export interface Control {
  readonly cell: Cell;
  /** It went to the same machine or pod as the one that failed. */
  readonly sameHost: boolean;
}

/** The best control for a cell that failed; undefined where nothing got through. */
export function controlFor(cell: Cell, results: readonly CellResult[]): Control | undefined {
  const good = results
    .filter(
      ({ cell: other, verdict }) =>
        verdict === 'passed' && other.expected.outcome === 'ok' && other.from === cell.from,
    )
    .map((result) => result.cell);
  const near = good.find((other) => isSameHost(cell, other));
  const [any] = good;
  return near !== undefined
    ? { cell: near, sameHost: true }
    : any === undefined
      ? undefined
      : { cell: any, sameHost: false };
}

function isSameHost(cell: Cell, other: Cell): boolean {
  return cell.address === other.address || (cell.node !== undefined && cell.node === other.node);
}
