import junitReportBuilder, { type Builder, type TestSuite } from 'junit-report-builder';
import type { Check } from '../bgp/checks/check.ts';
import type { CellResult } from '../matrix/types.ts';
import { describeEvidence, describeFinding } from './cell-text.ts';
import { describeCheck } from './check-text.ts';
import type { LabRun } from './run.ts';
import { describeExpected, describeObserved } from './words.ts';

/**
 * The package's module.exports is the builder, but its types say that the builder is the property `default` of it
 * (seen in 5.1.2: dist/index.js against dist/index.d.ts).
 */
export const reportBuilder = junitReportBuilder as unknown as Builder;

/**
 * The run as JUnit XML: one suite per source, one for the checks. A harness error is an <error>, not a
 * <failure>; blocked and skipped cells are <skipped>; a flaky cell passes and says so in its output. An aborted run has
 * one more case that is an error, so that it is never green.
 */
export function toJunit(run: LabRun): string {
  const report = reportBuilder.newBuilder();
  const timestamp = run.startedAt.toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss'.length);
  if (run.aborted !== undefined) {
    const suite = report.testSuite().name('run').timestamp(timestamp);
    const testCase = suite.testCase().className('run').name('runs to its end');
    testCase.error(`the run was aborted: ${run.aborted}`, 'aborted');
  }
  for (const from of [...new Set(run.cells.map(({ cell }) => cell.from))]) {
    const suite = report.testSuite().name(`from ${from}`).timestamp(timestamp);
    for (const result of run.cells.filter(({ cell }) => cell.from === from)) addCell(suite, from, result);
  }
  if (run.checks.length > 0) {
    const suite = report.testSuite().name('checks').timestamp(timestamp);
    for (const check of run.checks) addCheck(suite, check);
  }
  return report.build();
}

function addCell(suite: TestSuite, from: string, result: CellResult): void {
  const { cell, observed, verdict, evidence } = result;
  const detail = describeFinding(result);
  const testCase = suite.testCase().className(from).name(cell.id);
  if (observed?.connectMs != null) testCase.time(observed.connectMs / 1000);
  const story = [
    `expected: ${describeExpected(cell.expected)}`,
    `observed: ${describeObserved(observed)}`,
    ...(detail === null ? [] : [`detail: ${detail}`]),
    `why: ${cell.expected.why}`,
    ...(evidence === undefined ? [] : [`where: ${describeEvidence(evidence)}`]),
    ...cell.expected.chain.map(({ at, layer, text }) => `  ${at} (${layer}): ${text}`),
  ].join('\n');
  switch (verdict) {
    case 'failed':
      testCase.failure(
        `expected ${describeExpected(cell.expected)}, observed ${describeObserved(observed)}`,
        observed?.outcome,
      );
      testCase.stacktrace(story);
      break;
    case 'harness':
      testCase.error(detail ?? 'the harness failed', 'harness-error', story);
      break;
    case 'blocked':
    case 'skipped':
      testCase.skipped();
      testCase.standardOutput(`${verdict}: ${detail ?? ''}`);
      break;
    case 'flaky':
      testCase.standardOutput(`flaky\n${story}`);
      break;
    case 'passed':
      break;
  }
}

function addCheck(suite: TestSuite, check: Check): void {
  const testCase = suite.testCase().className('checks').name(check.id);
  const { title, expected, observed, why } = describeCheck(check);
  const story = `${title}\nexpected: ${expected}\nobserved: ${observed}\nwhy: ${why}`;
  switch (check.verdict) {
    case 'failed':
      testCase.failure(`expected ${expected}, observed ${observed}`, check.reason);
      testCase.stacktrace(story);
      break;
    case 'harness':
      testCase.error(observed, 'harness-error', story);
      break;
    case 'blocked':
    case 'skipped':
      testCase.skipped();
      break;
    case 'passed':
      break;
  }
}
