import { diffReports, hasChanges, type ReportDiff } from '../../report/diff.ts';
import { buildReport, type LabReport } from '../../report/json.ts';
import { HarnessError, LabFailure, messageOf } from '../../shared/errors.ts';
import { silent } from '../../shared/events.ts';
import { waitFor } from '../../shared/wait.ts';
import type { Deps } from '../deps.ts';
import { unseenSteps } from '../steps.ts';
import type { TestOptions } from './labtest.ts';
import { type OpenLab, openLab, prepareProbes } from './open-lab.ts';
import { saveReports, type TestResult } from './reports.ts';
import { controlled, onlyCells } from './select.ts';
import { testLab } from './steps.ts';

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
  const lab = await openLab(deps, options, silent);
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
