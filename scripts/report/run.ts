import type { Check } from '../bgp/checks/check.ts';
import type { Cell, CellResult } from '../matrix/types.ts';
import type { LabPlan } from '../plan/types.ts';

/** One run of labtest: what every report is made from. The optional parts are reported where they are present. */
export interface LabRun {
  readonly lab: string;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly checks: readonly Check[];
  readonly cells: readonly CellResult[];
  /** How many cells the whole matrix has, where only some of them were chosen. */
  readonly chosenFrom?: number;
  /** For the drawing of the lab. */
  readonly plan?: LabPlan;
  readonly bgpTables?: readonly BgpTable[];
  readonly timings?: readonly Timing[];
  /** What changed in the lab while it was tested, one sentence each. */
  readonly moved?: readonly string[];
  /** Why the run ended early; cells that it did not get to are skipped. */
  readonly aborted?: string;
}

/** One routing table as it was seen. */
export interface BgpTable {
  readonly machine: string;
  readonly table: string;
  readonly routes: readonly { readonly prefix: string; readonly nextHops: readonly string[] }[];
}

export interface Timing {
  readonly step: string;
  readonly ms: number;
}

/**
 * A run that ended early: what is known of it, and every planned cell that it did not get to as skipped. So its
 * reports still add up.
 */
export function abortedRun(known: LabRun, reason: string, planned: readonly Cell[] = []): LabRun {
  const done = new Map(known.cells.map((result) => [result.cell.id, result]));
  const unplanned = known.cells.filter(({ cell }) => !planned.some(({ id }) => id === cell.id));
  const notReached = (cell: Cell): CellResult => ({
    cell,
    observed: null,
    verdict: 'skipped',
    finding: { reason: 'aborted' },
  });
  return {
    ...known,
    aborted: reason,
    cells: [...planned.map((cell) => done.get(cell.id) ?? notReached(cell)), ...unplanned],
  };
}
