import type { Check } from '../bgp/checks/check.ts';
import type { CellResult } from '../matrix/types.ts';

/** One run of labtest: what every report is made from. */
export interface LabRun {
  readonly lab: string;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly checks: readonly Check[];
  readonly cells: readonly CellResult[];
}
