import { buildCells } from '../../matrix/cells.ts';
import type { Cell } from '../../matrix/types.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import type { LabState } from '../state.ts';
import type { StepTitle } from '../steps.ts';
import { openLab } from '../test/open-lab.ts';
import { readLabState } from '../test/read-lab.ts';
import { onlyCells } from '../test/select.ts';

export interface PredictOptions extends LabOptions {
  readonly only?: readonly string[] | undefined;
}

/** lab predict, in order. */
export const PREDICT_STEPS: readonly StepTitle[] = [
  { id: 'state', title: 'State', why: 'what every machine and the API say; no probe is sent' },
];

/** The cells of the matrix, and where earlier reports are. */
export interface Predicted {
  readonly lab: string;
  readonly cells: readonly Cell[];
  readonly state: LabState;
}

/** `lab predict`: what must happen in each cell, from the lab's state alone: nothing is probed. */
export async function predictLab(deps: Deps, options: PredictOptions): Promise<Predicted> {
  return deps.steps(PREDICT_STEPS).run('state', async (emit) => {
    const lab = await openLab(deps, options, emit);
    try {
      const cells = buildCells(lab.plan, await readLabState(deps, lab));
      const value = { lab: lab.plan.lab, cells: onlyCells(options.only)(cells), state: lab.state };
      return { value, changed: true };
    } finally {
      lab.close();
    }
  });
}
