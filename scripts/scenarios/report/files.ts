import { reportBuilder } from '../../report/junit.ts';
import type { ScenarioResult, StepResult } from '../run.ts';
import { SIGNS } from './text.ts';

/** What is written of a run. */
export interface Written {
  readonly lab: string;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly scenarios: readonly ScenarioResult[];
}

/** The run as one JSON document. */
export function scenarioJson({ lab, startedAt, durationMs, scenarios }: Written): object {
  const count = (verdict: ScenarioResult['verdict']) =>
    scenarios.filter((each) => each.verdict === verdict).length;
  return {
    schemaVersion: 1,
    lab,
    startedAt: startedAt.toISOString(),
    durationMs,
    summary: {
      planned: scenarios.length,
      passed: count('passed'),
      failed: count('failed'),
      harness: count('harness'),
      skipped: count('skipped'),
    },
    scenarios,
  };
}

/** The run as JUnit XML: one suite per scenario, one case per step. */
export function scenarioJunit({ startedAt, scenarios }: Written): string {
  const report = reportBuilder.newBuilder();
  const timestamp = startedAt.toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss'.length);
  for (const { name, steps, verdict, reason } of scenarios) {
    const suite = report.testSuite().name(name).timestamp(timestamp);
    if (verdict === 'skipped')
      suite
        .testCase()
        .className(name)
        .name(reason ?? 'skipped')
        .skipped();
    for (const step of steps) {
      const testCase = suite
        .testCase()
        .className(name)
        .name(step.id)
        .time(step.ms / 1000);
      const story = [`$ ${step.command}`, ...step.output, ...findingLines(step), step.why].join('\n');
      if (step.verdict === 'failed') testCase.failure(findingLines(step).join('; ')).stacktrace(story);
      else if (step.verdict === 'harness') testCase.error(findingLines(step).join('; '), 'harness', story);
      else if (step.verdict === 'not run') testCase.skipped();
      else testCase.standardOutput(story);
    }
  }
  return report.build();
}

/** What each expectation came to, one line each. */
export function findingLines({ findings }: StepResult): readonly string[] {
  return findings.map(({ right, wanted, seen }) =>
    right ? `${wanted}: ${seen}` : `wanted: ${wanted}; seen: ${seen}`,
  );
}

/** The run as Markdown: a write-up of what was typed and seen. */
export function scenarioMarkdown({ lab, startedAt, scenarios }: Written): string {
  return [
    `# Scenarios on lab ${lab}, ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    ...scenarios.flatMap(({ title, lesson, verdict, reason, next, steps }) => [
      `## ${SIGNS[verdict]} ${title}`,
      lesson,
      ...(verdict === 'skipped' ? [`Skipped: ${reason}. Next: \`${next}\``] : []),
      ...steps.flatMap((step) => [
        step.why,
        ['```text', `$ ${step.command}`, ...step.output, '```'].join('\n'),
        findingLines(step)
          .map((line, index) => `- ${step.findings[index]?.right === true ? '✓' : '✗'} ${line}`)
          .join('\n') || `- ${step.verdict}`,
      ]),
    ]),
    '',
  ].join('\n\n');
}
