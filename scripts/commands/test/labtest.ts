import type { Cell } from '../../matrix/types.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import { type StepTitle, unseenSteps } from '../steps.ts';
import { type OpenLab, openLab, prepareProbes } from './open-lab.ts';
import { knownCells, saveReports } from './reports.ts';
import { both, cellsWithIds, controlled, failedCells, isRight, onlyCells } from './select.ts';
import { RUN_STEPS, type RunOptions, type TestResult, testLab } from './steps.ts';

export interface TestOptions extends LabOptions {
  /** Patterns of cell ids; without any the whole matrix is tested. */
  readonly only?: readonly string[] | undefined;
  /** First those cells alone that were not right in the last run; the rest only if they are right now. */
  readonly failFirst?: boolean | undefined;
  /** Called when the cells are known and before any is tried. */
  readonly onPlanned?: (planned: readonly Cell[]) => void;
}

/** labtest, in order. */
export const TEST_STEPS: readonly StepTitle[] = [
  { id: 'connect', title: 'Connect', why: 'SSH to every machine, and the cluster must be this lab' },
  ...RUN_STEPS,
];

const FAILED_FIRST: StepTitle = {
  id: 'failed',
  title: 'What failed last time',
  why: 'alone, and the end if it still fails',
};

/**
 * `labtest`: reads the state, derives what must happen, probes it, and keeps the report in the state folder. Throws
 * UserError, LabFailure or HarnessError where that cannot be done.
 */
export async function labtest(deps: Deps, options: TestOptions): Promise<TestResult> {
  const [connect, ...rest] = TEST_STEPS;
  const titles =
    connect === undefined ? rest : [connect, ...(options.failFirst ? [FAILED_FIRST] : []), ...rest];
  const steps = deps.steps(titles);
  const lab = await steps.run('connect', async (emit) => {
    const value = await openLab(deps, options, emit);
    await prepareProbes(value, emit);
    return { value, changed: true };
  });
  try {
    const run: RunOptions = {
      select: controlled(onlyCells(options.only)),
      ...(options.onPlanned === undefined ? {} : { onPlanned: options.onPlanned }),
    };
    if (options.failFirst === true) {
      const still = await steps.run('failed', async (emit) => {
        const value = await testFailed(deps, lab, options, (text) => emit({ type: 'note', text }));
        return { value, changed: value !== undefined };
      });
      if (still !== undefined) {
        await saveReports(lab.state, still);
        return still;
      }
    }
    const result = await testLab(deps, lab, steps, run);
    await saveReports(lab.state, result);
    return result;
  } finally {
    lab.close();
  }
}

/** Tests what was not right when it was last tried; the result if it still is not. */
async function testFailed(
  deps: Deps,
  lab: OpenLab,
  { only, onPlanned }: TestOptions,
  note: (text: string) => void,
): Promise<TestResult | undefined> {
  const known = await knownCells(lab.state);
  const failed = failedCells([...known.values()].map(({ result }) => result));
  if (failed.length === 0) {
    note(known.size === 0 ? 'there is no earlier run' : 'nothing failed');
    return undefined;
  }
  note(`${failed.length} cells`);
  const result = await testLab(deps, lab, unseenSteps, {
    ...(onPlanned === undefined ? {} : { onPlanned }),
    select: controlled(both(onlyCells(only), cellsWithIds(failed))),
  });
  return isRight(result) ? undefined : result;
}
