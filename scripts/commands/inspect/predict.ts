import { buildCells } from '../../matrix/cells.ts';
import type { Cell } from '../../matrix/types.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import type { LabState } from '../state.ts';
import { Steps } from '../steps.ts';
import { openLab } from '../test/open-lab.ts';
import { readLabState } from '../test/read-lab.ts';
import { onlyCells } from '../test/select.ts';

export interface PredictOptions extends LabOptions {
  readonly icmp?: boolean | undefined;
  readonly only?: readonly string[] | undefined;
}

/** lab predict, in order. */
const PREDICT_STEPS = new Steps<{ readonly deps: Deps; readonly options: PredictOptions }>().step({
  id: 'state',
  title: 'State',
  why: 'what every machine and the API say; no probe is sent',
  run: async ({ deps, options }, emit) => {
    const lab = await openLab(deps, options, emit);
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
