import type { Cell } from '../../matrix/types.ts';
import { diffReports, hasChanges, type ReportDiff } from '../../report/diff.ts';
import { buildReport, type LabReport } from '../../report/json.ts';
import { HarnessError, LabFailure, messageOf } from '../../shared/errors.ts';
import { silent } from '../../shared/events.ts';
import { waitFor } from '../../shared/wait.ts';
import type { Deps } from '../deps.ts';
import type { LabOptions } from '../lab-file.ts';
import { Steps, type StepTiming, timed, unseenSteps } from '../steps.ts';
import { type NamespaceOption, type OpenLab, openLab, prepareProbes, withNamespaces } from './open-lab.ts';
import { knownCells, saveReports, type TestResult } from './reports.ts';
import { both, cellsWithIds, controlled, failedCells, isRight, onlyCells } from './select.ts';
import { RUN_STEPS, type RunOptions, resultOf, testLab } from './steps.ts';

export interface TestOptions extends LabOptions, NamespaceOption {
  /** Patterns of cell ids; without any the whole matrix is tested. */
  readonly only?: readonly string[] | undefined;
  /** Pings, too. */
  readonly icmp?: boolean | undefined;
  /** First those cells alone that were not right in the last run; the rest only if they are right now. */
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
  run: async ({ deps, testOptions, options, closing }, emit) => {
    const lab = withNamespaces(await openLab(deps, testOptions, emit), testOptions);
    closing.push(() => lab.close());
    // While the state is read; whoever probes waits for it.
    const ready = prepareProbes(lab, emit);
    ready.catch(() => {});
    return { changed: true, lab, options: { ...options, beforeProbes: () => ready } };
  },
});

/** labtest, in order. */
const TEST_STEPS = CONNECT_STEPS.and(RUN_STEPS);

/** What comes first with --fail-first. */
const FAILED_FIRST_STEPS = CONNECT_STEPS.step({
  id: 'failed',
  title: 'What failed last time',
  why: 'alone, and the end if it still fails',
  run: async ({ deps, lab, testOptions, options: { beforeProbes } }, emit) => {
    const still = await testFailed(deps, lab, { ...testOptions, beforeProbes }, (text) =>
      emit({ type: 'note', text }),
    );
    return { changed: still !== undefined, still };
  },
});

/**
 * `labtest`: reads the state, derives what must happen, probes it, and keeps the report in the state folder. Throws
 * UserError, LabFailure or HarnessError where that cannot be done.
 */
export async function labtest(
  deps: Deps,
  options: TestOptions,
): Promise<TestResult & { readonly report: LabReport }> {
  const closing: (() => void)[] = [];
  const runOptions = {
    icmp: options.icmp === true,
    select: controlled(onlyCells(options.only)),
    ...(options.onPlanned === undefined ? {} : { onPlanned: options.onPlanned }),
  };
  const start = { deps, testOptions: options, options: runOptions, closing };
  try {
    const { lab, result } = await (options.failFirst === true ? failedFirst(start) : everything(start));
    return { ...result, report: await saveReports(lab.state, result) };
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
  const { deps } = start;
  const { lab, still, options } = await FAILED_FIRST_STEPS.run(start, deps.runSteps);
  return { lab, result: still ?? (await testLab(deps, lab, deps.runSteps, options)) };
}

/** Tests what was not right when it was last tried; the result if it still is not. */
async function testFailed(
  deps: Deps,
  lab: OpenLab,
  { only, icmp = false, onPlanned, beforeProbes }: TestOptions & Required<Pick<RunOptions, 'beforeProbes'>>,
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
    beforeProbes,
    icmp,
    select: controlled(both(onlyCells(only), cellsWithIds(failed))),
  });
  return isRight(result) ? undefined : result;
}

/** How often a watched lab is tested, in seconds, from start to start. */
const EVERY_SECONDS = 5;

export interface WatchOptions extends TestOptions {
  /** After this time no further test is begun; without it, it goes on until Ctrl-C. */
  readonly forSeconds?: number | undefined;
}

/** One test of a watched lab. */
export type WatchRound =
  /** `changes` is absent the first time. */
  | { readonly result: TestResult; readonly report: LabReport; readonly changes?: ReportDiff }
  /** The lab could not be tested this time. */
  | { readonly error: HarnessError | LabFailure };

/**
 * `labtest --watch`: tests the lab again and again and hands over each round. Returns the last one; throws Interrupted on
 * Ctrl-C, and what labtest throws where the user must act.
 */
export async function watchLab(
  deps: Deps,
  options: WatchOptions,
  onRound: (round: WatchRound) => void,
): Promise<WatchRound> {
  const started = performance.now();
  const ends =
    options.forSeconds === undefined ? Number.POSITIVE_INFINITY : started + options.forSeconds * 1000;
  let lab: OpenLab | undefined;
  let before: LabReport | undefined;
  try {
    for (;;) {
      const begun = performance.now();
      const round = await (async (): Promise<WatchRound> => {
        lab ??= await opened(deps, options);
        const result = await testLab(deps, lab, unseenSteps, {
          icmp: options.icmp === true,
          select: controlled(onlyCells(options.only)),
        });
        const now = buildReport(result.run, result.planned);
        const changes = before === undefined ? undefined : diffReports(before, now);
        // Rounds that are all alike would push every other run out of the state folder.
        const undated = changes !== undefined && !hasChanges(changes);
        const report = await saveReports(lab.state, result, { undated });
        before = report;
        return { result, report, ...(changes === undefined ? {} : { changes }) };
      })().catch((error: unknown): WatchRound => {
        if (!(error instanceof HarnessError || error instanceof LabFailure)) throw error;
        return { error };
      });
      onRound(round);
      // A connection may be lost for good: the next round opens its own.
      if ('error' in round || round.result.run.cells.some(({ verdict }) => verdict === 'harness')) {
        lab?.close();
        lab = undefined;
      }
      const next = begun + EVERY_SECONDS * 1000;
      if (next >= ends) return round;
      await until(next, deps.signal);
    }
  } finally {
    lab?.close();
  }
}

async function opened(deps: Deps, options: TestOptions): Promise<OpenLab> {
  const lab = withNamespaces(await openLab(deps, options, silent), options);
  await prepareProbes(lab, silent);
  return lab;
}

async function until(time: number, signal: AbortSignal | undefined): Promise<void> {
  await waitFor({
    what: 'the next round',
    timeoutMs: EVERY_SECONDS * 2000,
    signal,
    look: async () =>
      performance.now() >= time
        ? { done: true, value: undefined }
        : { done: false, why: 'it is not time yet' },
  });
}

/** What a round says that could not be tested. */
export function roundError(round: WatchRound): string | undefined {
  return 'error' in round ? [messageOf(round.error), ...round.error.details].join('; ') : undefined;
}
