import { toHtml } from '../report/html/page.ts';
import type { LabReport } from '../report/json.ts';
import { buildReport, reportText } from '../report/json.ts';
import { parseReport } from '../report/parse.ts';
import type { LabState } from './state.ts';
import type { TestResult } from './test-run.ts';

const FOLDER = 'reports';
const LAST = `${FOLDER}/last.json`;
const HTML = `${FOLDER}/report.html`;
/** How many reports of earlier runs are kept. */
const KEPT = 20;
/** 2026-01-02T03-04-05.678Z.json: sorted by name they are sorted by time. */
const DATED = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z\.json$/;

/** Keeps a run in the state folder: as last.json, under its date, and as report.html. The oldest reports go. */
export async function saveReports(state: LabState, { run, planned }: TestResult): Promise<LabReport> {
  const report = buildReport(run, planned);
  const text = reportText(report);
  await state.create();
  await state.write(`${FOLDER}/${run.startedAt.toISOString().replaceAll(':', '-')}.json`, text);
  await state.write(LAST, text);
  await state.write(HTML, toHtml(run));
  const dated = (await state.list(FOLDER)).filter((name) => DATED.test(name));
  for (const name of dated.slice(0, -KEPT)) await state.removeFile(`${FOLDER}/${name}`);
  return report;
}

/** The report of the last run; undefined where there was none. Throws UserError where it is damaged. */
export async function lastReport(state: LabState): Promise<LabReport | undefined> {
  const text = await state.read(LAST);
  return text === undefined ? undefined : parseReport(text, state.path(LAST));
}
