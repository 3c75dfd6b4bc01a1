import type { Diagnosis } from '../commands/inspect/doctor.ts';
import type { DoctorCheck, DoctorVerdict } from '../plan/doctor/check.ts';
import type { HostProblem } from '../plan/host-problem.ts';
import { wrap } from '../report/wrap.ts';
import { colors } from './colors.ts';

const WIDTH = 100;

const SIGNS: Readonly<Record<DoctorVerdict, string>> = {
  ok: colors.green('✓'),
  warning: colors.yellow('!'),
  error: colors.red('✗'),
  skipped: colors.dim('-'),
};

/** What `lab doctor` found, as a table of at most 100 columns: sign, check, what was seen; the cures below. */
export function doctorText({ lab, driver, checks }: Diagnosis): string {
  const column = Math.max(...checks.map(({ title }) => title.length)) + 4;
  const many = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;
  const errors = checks.filter(({ verdict }) => verdict === 'error').length;
  const warnings = checks.filter(({ verdict }) => verdict === 'warning').length;
  const warned = warnings === 0 ? '' : `, ${many(warnings, 'warning')}`;
  return [
    ...wrap(`lab "${lab}", driver ${driver.value} (${driver.why})`, WIDTH, '  '),
    '',
    ...checks.flatMap((check) => checkLines(check, column)),
    '',
    errors === 0
      ? `${colors.green('ready')}: nothing stops labup${warned}`
      : `${colors.red('not ready')}: ${many(errors, 'error')}${warned}; labup would stop before it touches anything`,
    '',
  ].join('\n');
}

function checkLines({ title, verdict, found, problems }: DoctorCheck, column: number): readonly string[] {
  const indent = ' '.repeat(column);
  const texts = problems.length === 0 ? seenLines(verdict, found, indent) : problemLines(problems, indent);
  const [first = '', ...rest] = texts;
  return [
    `${SIGNS[verdict]} ${title}`.padEnd(column + SIGNS[verdict].length - 1) + first.trimStart(),
    ...rest,
  ];
}

function seenLines(verdict: DoctorVerdict, found: string, indent: string): readonly string[] {
  return wrap(verdict === 'skipped' ? `skipped: ${found}` : found, WIDTH, indent, indent);
}

/** Each problem; and what cures it once, where several have the same cure. */
function problemLines(problems: readonly HostProblem[], indent: string): readonly string[] {
  const cures = [...new Set(problems.map(({ hint }) => hint))];
  return cures.flatMap((cure) => {
    const same = problems.filter(({ hint }) => hint === cure);
    const seen = same.flatMap(({ subject, message }) =>
      wrap(subject === 'host' ? message : `${subject}: ${message}`, WIDTH, indent, indent),
    );
    return [...seen, ...wrap(cure, WIDTH, `${indent}      `, `${indent}cure: `)];
  });
}
