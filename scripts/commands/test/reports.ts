import { toHtml } from '../../report/html/page.ts';
import type { LabReport } from '../../report/json.ts';
import { buildReport, reportText } from '../../report/json.ts';
import { parseReport } from '../../report/parse.ts';
import type { LabState } from '../state.ts';
import { partialRunsSince, REPORTS, removeOldRuns, runFile } from './kept-runs.ts';
import type { TestResult } from './steps.ts';

/** The last run of the whole matrix. Partial runs leave it as it is, or what it knew of all other cells would be lost. */
const LAST = `${REPORTS}/last.json`;
const HTML = `${REPORTS}/report.html`;

/** What the newest run that tried it saw of a cell. */
export interface KnownCell {
  readonly startedAt: string;
  readonly result: LabReport['cells'][number];
}

/**
 * Keeps a run in the state folder under its date, and one of the whole matrix also as last.json and report.html. The
 * oldest runs go. `undated`: a run of which nobody will ask for that date.
 */
export async function saveReports(
  state: LabState,
  { run, planned }: TestResult,
  { undated = false }: { readonly undated?: boolean } = {},
): Promise<LabReport> {
  const report = buildReport(run, planned);
  const text = reportText(report);
  const isPartial = report.chosenFrom !== undefined;
  await state.create();
  if (!undated) await state.write(runFile(run.startedAt, isPartial ? 'partial' : 'whole'), text);
  if (!isPartial) {
    await state.write(LAST, text);
    await state.write(HTML, toHtml(run));
  }
  await removeOldRuns(state);
  return report;
}

/**
 * Every cell of the last run of the whole matrix, or as a partial run after it saw it, by id. Empty where there was no
 * run. Throws UserError where a report is damaged.
 */
export async function knownCells(state: LabState): Promise<ReadonlyMap<string, KnownCell>> {
  const last = await readReport(state, LAST);
  const later = await partialRunsSince(state, last === undefined ? undefined : new Date(last.startedAt));
  const reports = [last, ...(await Promise.all(later.map((file) => readReport(state, file))))];
  return new Map(
    reports
      .filter((report) => report !== undefined)
      .flatMap(({ startedAt, cells }) =>
        cells.map((result): [string, KnownCell] => [result.id, { startedAt, result }]),
      ),
  );
}

async function readReport(state: LabState, file: string): Promise<LabReport | undefined> {
  const text = await state.read(file);
  return text === undefined ? undefined : parseReport(text, state.path(file));
}
