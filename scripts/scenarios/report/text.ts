import { wrap } from '../../shared/text.ts';
import type { ScenarioResult, StepResult } from '../run.ts';
import { shownCommand } from '../run.ts';
import type { Scenario, Step } from '../scenario.ts';

/** The colours of a terminal, as picocolors has them; with identity functions there are none. */
export type Paint = Readonly<Record<'green' | 'red' | 'yellow' | 'bold' | 'dim', (text: string) => string>>;

export const SIGNS: Readonly<Record<StepResult['verdict'] | ScenarioResult['verdict'], string>> = {
  passed: '✓',
  failed: '✗',
  harness: '!',
  skipped: 's',
  'not run': '-',
};

/** The head of a scenario: what it is called and what it teaches. */
export function headLines(
  { name, title, lesson }: Pick<Scenario, 'name' | 'title' | 'lesson'>,
  paint: Paint,
  width: number,
): readonly string[] {
  return ['', paint.bold(`${name}: ${title}`), ...wrap(lesson, width, '  ', '  ')];
}

/** The command of a step, as it is typed. */
export function commandLines(number: number, command: string, paint: Paint): readonly string[] {
  const [first = '', ...more] = command.split('\n');
  return ['', `${paint.dim(`${number}.`)} $ ${paint.bold(first)}`, ...more];
}

/** What came of a step: the lines of the output that matter, the mark, and why. */
export function stepLines(
  { output, findings, verdict, why }: StepResult,
  paint: Paint,
  width: number,
): readonly string[] {
  return [
    ...output.map((line) => paint.dim(`     ${line}`)),
    ...findings.flatMap(({ right, wanted, seen }) =>
      right
        ? wrap(`✓ ${wanted}: ${seen}`, width, '     ', '   ').map((line, index) =>
            index === 0 ? line.replace('✓', paint.green('✓')) : line,
          )
        : [
            ...wrap(`${SIGNS[verdict]} wanted: ${wanted}`, width, '     ', '   '),
            ...wrap(`seen: ${seen}`, width, '     ', '     '),
          ].map(paint.red),
    ),
    ...wrap(why, width, '     ', '     '),
  ];
}

/** One line per scenario, and what all came to. */
export function summaryLines(
  scenarios: readonly ScenarioResult[],
  duration: (ms: number) => string,
  paint: Paint,
): readonly string[] {
  return scenarios.flatMap(({ name, verdict, steps, ms, reason, next }) => {
    const right = steps.filter((step) => step.verdict === 'passed').length;
    if (verdict === 'skipped') return [paint.yellow(`s ${name}: skipped, ${reason}`), `    next: ${next}`];
    const failed = steps.find((step) => step.verdict === 'failed' || step.verdict === 'harness');
    const finding = failed?.findings.find((each) => !each.right);
    const line = `${SIGNS[verdict]} ${name}: ${right} of ${steps.length} steps (${duration(ms)})`;
    return [
      verdict === 'passed' ? paint.green(line) : paint.red(line),
      ...(failed === undefined ? [] : [`    ${failed.id}: ${finding?.seen}`]),
    ];
  });
}

/** What a scenario does, for a reader without a lab. */
export function showLines(
  { steps, ...scenario }: Scenario,
  cwd: string,
  paint: Paint,
  width: number,
): readonly string[] {
  return [
    ...headLines(scenario, paint, width).slice(1),
    ...steps.flatMap((step: Step, index) => [
      ...commandLines(index + 1, shownCommand('change' in step ? step.change : step.look, cwd), paint),
      ...[step.expect].flat().flatMap(({ wanted }) => wrap(`wanted: ${wanted}`, width, '     ', '   ')),
      ...wrap(step.why, width, '     ', '     '),
    ]),
  ];
}
