import type { Cell } from '../../matrix/types.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import { Steps, type StepTiming, timed, unseenSteps } from '../steps.ts';
import { type OpenLab, openLab, prepareProbes } from './open-lab.ts';
import { knownCells, saveReports, type TestResult } from './reports.ts';
import { both, cellsWithIds, controlled, failedCells, isRight, onlyCells } from './select.ts';
import { RUN_STEPS, type RunOptions, resultOf, testLab } from './steps.ts';

export interface TestOptions extends LabOptions {
  /** Patterns of cell ids; without any the whole matrix is tested. */
  readonly only?: readonly string[] | undefined;
  /** First those cells alone that were not right in the last run; the rest only if they are right now. */
  /** Pings, too. */
  readonly icmp?: boolean | undefined;
  readonly failFirst?: boolean | undefined;
  /** Called when the cells are known and before any is tried. */
  readonly onPlanned?: (planned: readonly Cell[]) => void;
}

/** What labtest works with. */
interface LabtestStart {
  readonly deps: Deps;
  readonly testOptions: TestOptions;
  readonly options: RunOptions;
  /** Called when the steps have ended, however they did. */
  readonly closing: (() => void)[];
}

const CONNECT_STEPS = new Steps<LabtestStart>().step({
  id: 'connect',
  title: 'Connect',
  why: 'SSH to every machine, and the cluster must be this lab',
  run: async ({ deps, testOptions, closing }, emit) => {
    const lab = await openLab(deps, testOptions, emit);
    closing.push(() => lab.close());
    await prepareProbes(lab, emit);
    return { changed: true, lab };
  },
});

/** labtest, in order. */
const TEST_STEPS = CONNECT_STEPS.and(RUN_STEPS);

/** What comes first with --fail-first. */
const FAILED_FIRST_STEPS = CONNECT_STEPS.step({
  id: 'failed',
  title: 'What failed last time',
  why: 'alone, and the end if it still fails',
  run: async ({ deps, lab, testOptions }, emit) => {
    const still = await testFailed(deps, lab, testOptions, (text) => emit({ type: 'note', text }));
    return { changed: still !== undefined, still };
  },
});

/**
 * `labtest`: reads the state, derives what must happen, probes it, and keeps the report in the state folder. Throws
 * UserError, LabFailure or HarnessError where that cannot be done.
 */
export async function labtest(deps: Deps, options: TestOptions): Promise<TestResult> {
  const closing: (() => void)[] = [];
  const runOptions = {
    icmp: options.icmp === true,
    select: controlled(onlyCells(options.only)),
    ...(options.onPlanned === undefined ? {} : { onPlanned: options.onPlanned }),
  };
  const start = { deps, testOptions: options, options: runOptions, closing };
  try {
    const { lab, result } = await (options.failFirst === true ? failedFirst(start) : everything(start));
    await saveReports(lab.state, result);
    return result;
  } finally {
    for (const close of closing) close();
  }
}

interface Tested {
  readonly lab: OpenLab;
  readonly result: TestResult;
}

async function everything(start: LabtestStart): Promise<Tested> {
  const timings: StepTiming[] = [];
  const ended = await TEST_STEPS.run(start, timed(start.deps.runSteps, timings));
  return { lab: ended.lab, result: resultOf(ended, timings) };
}

async function failedFirst(start: LabtestStart): Promise<Tested> {
  const { deps, options } = start;
  const { lab, still } = await FAILED_FIRST_STEPS.run(start, deps.runSteps);
  return { lab, result: still ?? (await testLab(deps, lab, deps.runSteps, options)) };
}

/** Tests what was not right when it was last tried; the result if it still is not. */
async function testFailed(
  deps: Deps,
  lab: OpenLab,
  { only, icmp = false, onPlanned }: TestOptions,
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
    icmp,
    select: controlled(both(onlyCells(only), cellsWithIds(failed))),
  });
  return isRight(result) ? undefined : result;
}
