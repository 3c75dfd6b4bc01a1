import type { Cell } from '../../matrix/types.ts';
import { UserError } from '../../shared/errors.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import { type KnownCell, knownCells } from '../test/reports.ts';
import { predictLab } from './predict.ts';

/** A cell as it is predicted now, and what the last run that tried it saw. */
export interface Explanation {
  readonly cell: Cell;
  readonly last?: KnownCell;
}

/** More cells than this are no explanation. */
const MOST = 10;

/**
 * `lab explain CELL`: the packet's path for every cell that the pattern names, with what the last run saw. Throws UserError
 * for a pattern that names no cell, or too many.
 */
export async function explainLab(
  deps: Deps,
  pattern: string,
  options: LabOptions,
): Promise<{ readonly lab: string; readonly explanations: readonly Explanation[] }> {
  const { lab, cells, state } = await predictLab(deps, {
    ...options,
    only: [pattern],
    icmp: pattern.includes('icmp'),
  });
  if (cells.length > MOST)
    throw new UserError(
      `${JSON.stringify(pattern)} names ${cells.length} cells; at most ${MOST} are explained.`,
      {
        details: [...cells.slice(0, MOST).map(({ id }) => id), '...'],
        next: 'npx lab explain CELL   with more of the id',
      },
    );
  const known = await knownCells(state);
  const explanations = cells.map((cell): Explanation => {
    const last = known.get(cell.id);
    return { cell, ...(last === undefined ? {} : { last }) };
  });
  return { lab, explanations };
}
