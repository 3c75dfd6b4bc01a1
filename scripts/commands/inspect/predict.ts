import { buildCells } from '../../matrix/cells.ts';
import type { Cell } from '../../matrix/types.ts';
import { UserError } from '../../shared/errors.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import type { LabState } from '../state.ts';
import { Steps } from '../steps.ts';
import { type NamespaceOption, openLab, withNamespaces } from '../test/open-lab.ts';
import { readLabState } from '../test/read-lab.ts';
import { type KnownCell, knownCells } from '../test/reports.ts';
import { onlyCells } from '../test/select.ts';

export interface PredictOptions extends LabOptions, NamespaceOption {
  readonly icmp?: boolean | undefined;
  readonly only?: readonly string[] | undefined;
}

/** lab predict, in order. */
const PREDICT_STEPS = new Steps<{ readonly deps: Deps; readonly options: PredictOptions }>().step({
  id: 'state',
  title: 'State',
  why: 'what every machine and the API say; no probe is sent',
  run: async ({ deps, options }, emit) => {
    const lab = withNamespaces(await openLab(deps, options, emit), options);
    try {
      const cells = buildCells(lab.plan, await readLabState(deps, lab), { icmp: options.icmp === true });
      const chosen = onlyCells(options.only)(cells);
      return { changed: true, lab: lab.plan.lab, cells: chosen, state: lab.state };
    } finally {
      lab.close();
    }
  },
});

/** The cells of the matrix, and where earlier reports are. */
export interface Predicted {
  readonly lab: string;
  readonly cells: readonly Cell[];
  readonly state: LabState;
}

/** `lab predict`: what must happen in each cell, from the lab's state alone: nothing is probed. */
export async function predictLab(deps: Deps, options: PredictOptions): Promise<Predicted> {
  return PREDICT_STEPS.run({ deps, options }, deps.runSteps);
}

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
  options: LabOptions & NamespaceOption,
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
