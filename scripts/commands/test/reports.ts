import type { Cell } from '../../matrix/types.ts';
import { toHtml } from '../../report/html/page.ts';
import { buildReport, type LabReport, parseReport, reportText } from '../../report/json.ts';
import type { LabRun } from '../../report/run.ts';
import type { LabState } from '../state.ts';

/** Where runs are kept in the state folder. */
export const REPORTS = 'reports';
const EVIDENCE = `${REPORTS}/evidence`;
/** The last run of the whole matrix. Partial runs leave it as it is, or what it knew of all other cells would be lost. */
const LAST = `${REPORTS}/last.json`;
const HTML = `${REPORTS}/report.html`;

/** How many whole runs are kept, how many partial ones, and of how many runs the evidence at least. */
export const KEPT_RUNS = 20;

/** Runs are named by their start, 2026-01-02T03-04-05.678Z, so that sorted by name they are sorted by time. */
const START = String.raw`\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z`;
const KINDS = {
  whole: new RegExp(`^(${START})\\.json$`),
  partial: new RegExp(`^(${START})-partial\\.json$`),
};
const OF_RUN = new RegExp(`^(${START})-`);

/** The result of a labtest: the run, and the cells that were planned. */
export interface TestResult {
  readonly run: LabRun;
  readonly planned: readonly Cell[];
}

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
  // Each waits for the disk.
  await Promise.all([
    undated || state.write(runFile(run.startedAt, isPartial ? 'partial' : 'whole'), text),
    isPartial || state.write(LAST, text),
    isPartial || state.write(HTML, toHtml(run)),
  ]);
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

/** The file of a run in the state folder. A partial run tried only cells that were chosen. */
export function runFile(startedAt: Date, kind: keyof typeof KINDS): string {
  return `${REPORTS}/${nameOf(startedAt)}${kind === 'partial' ? '-partial' : ''}.json`;
}

/** The files of the partial runs that were begun after this time, oldest first. */
export async function partialRunsSince(state: LabState, time: Date | undefined): Promise<readonly string[]> {
  const names = await state.list(REPORTS);
  return names
    .filter((name) => {
      const start = KINDS.partial.exec(name)?.[1];
      return start !== undefined && (time === undefined || start > nameOf(time));
    })
    .map((name) => `${REPORTS}/${name}`);
}

/** Keeps what was seen of one red cell of a run, and returns the file's path. Evidence of old runs goes. */
export async function saveEvidence(
  state: LabState,
  startedAt: Date,
  name: string,
  content: string,
): Promise<string> {
  const file = `${nameOf(startedAt)}-${name}`;
  await state.create();
  await state.write(`${EVIDENCE}/${file}`, content);
  await removeOldRuns(state);
  return state.path(EVIDENCE, file);
}

/**
 * Removes the reports of all but the newest runs, whole and partial ones counted apart, so that many small runs do not
 * push out the whole ones; and all evidence that is neither of a run whose report is kept nor of one of the newest runs.
 * A file whose name this module has not made stays.
 */
export async function removeOldRuns(state: LabState): Promise<void> {
  const reports = await state.list(REPORTS);
  const kept = new Set<string>();
  for (const kind of Object.values(KINDS)) {
    const runs = reports.flatMap((name) => kind.exec(name)?.[1] ?? []);
    for (const start of runs.slice(-KEPT_RUNS)) kept.add(start);
    for (const name of reports.filter((each) => kind.test(each)).slice(0, -KEPT_RUNS))
      await state.removeFile(`${REPORTS}/${name}`);
  }
  const evidence = (await state.list(EVIDENCE)).flatMap((name) => {
    const start = OF_RUN.exec(name)?.[1];
    return start === undefined ? [] : [{ name, start }];
  });
  const newest = [...new Set(evidence.map(({ start }) => start))].slice(-KEPT_RUNS);
  for (const { name, start } of evidence)
    if (!kept.has(start) && !newest.includes(start)) await state.removeFile(`${EVIDENCE}/${name}`);
}

function nameOf(time: Date): string {
  return time.toISOString().replaceAll(':', '-');
}
