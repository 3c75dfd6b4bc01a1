import pc from 'picocolors';
import type { BundleManifest } from '../artifacts/bundle/bundle.ts';
import type { Diagnosis } from '../commands/inspect/doctor.ts';
import type { LabStatus, MachineStatus } from '../commands/inspect/status.ts';
import type { StepTiming } from '../commands/steps.ts';
import { sumOf } from '../commands/up/processor-time.ts';
import type { DoctorCheck, DoctorVerdict } from '../plan/doctor/check.ts';
import type { HostProblem } from '../plan/host-facts.ts';
import { countText } from '../report/causes.ts';
import { table, wrap } from '../shared/text.ts';

/**
 * Whether output may hold colour codes: on a terminal, unless NO_COLOR is set (https://no-color.org). picocolors by
 * itself also colours whenever CI is set, which would put codes into logs and pipes.
 */
export function colorWanted(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0';
  return isTerminal && env.TERM !== 'dumb';
}

const terminal = process.stdout.isTTY === true && process.stderr.isTTY === true;

/** The colours of everything that cli/ prints; plain text where they are not wanted. */
export const colors = pc.createColors(colorWanted(process.env, terminal));

/** A duration in milliseconds as people read it: "0.4 s", "12 s", "2 min 05 s". */
export function durationText(ms: number): string {
  const seconds = ms / 1000;
  // Decided by what will be shown, so that 59.6 s is no "60 s".
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

/** An estimate of the time left, from seconds. */
export function leftText(seconds: number): string {
  return seconds < 60
    ? `about ${Math.max(1, Math.round(seconds))} s left`
    : `about ${Math.ceil(seconds / 60)} min left`;
}

/** "42 %, about 3 min left". */
export function progressText(done: number, total: number, secondsLeft?: number): string {
  const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
  return secondsLeft === undefined ? `${percent} %` : `${percent} %, ${leftText(secondsLeft)}`;
}

/** "slowest: machines 10 s, control-plane 14 s, ...": the five steps that took longest. */
export function slowestText(timings: readonly StepTiming[]): string {
  const slowest = [...timings].sort((a, b) => b.ms - a.ms).slice(0, 5);
  return `slowest steps: ${slowest.map(({ step, ms }) => `${step} ${durationText(ms)}`).join(', ')}`;
}

/** What each step took: wall time, processor time of this host, and the least that it could have taken. */
export function timingsText(timings: readonly StepTiming[]): string {
  const sum = sumOf(timings);
  const row = (step: string, { ms, processorMs = 0, leastMs = 0 }: Omit<StepTiming, 'step' | 'changed'>) => [
    ...[step, durationText(ms), durationText(processorMs), durationText(leastMs)],
  ];
  const lines = table([
    ['STEP', 'WALL', 'PROCESSORS', 'AT LEAST'],
    ...timings.map((timing) => row(timing.step, timing)),
    row('all', sum),
  ]);
  if (sum.leastMs === 0) return [...lines, 'Processor times are measured on Linux only.'].join('\n');
  const why =
    'AT LEAST: the processor time, shared among all processors, or that of the one machine that needed most, if that is more';
  return [...lines, `${sum.ratio.toFixed(2)} times its critical path`, why].join('\n');
}

/** The lab's state as a table. */
export function statusText({ lab, state, machines, problems, differences }: LabStatus): string {
  const paint = state === 'up' ? colors.green : colors.red;
  const rows = machines.map((machine) => [
    machine.name,
    machine.role,
    machine.address,
    machine.state,
    machine.node ?? '-',
    sessionsText(machine),
  ]);
  const lines = table([['MACHINE', 'ROLE', 'ADDRESS', 'STATE', 'NODE', 'BGP'], ...rows]);
  return [
    `lab "${lab}": ${paint(state)}`,
    ...(machines.length > 0 ? ['', ...lines] : []),
    ...problems.map((text) => `problem: ${text}`),
    ...differences.map((text) => `lab.yaml differs: ${text}`),
    '',
  ].join('\n');
}

function sessionsText({ sessions }: MachineStatus): string {
  return sessions === undefined ? '-' : `${sessions.established}/${sessions.planned} established`;
}

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
  const errors = checks.filter(({ verdict }) => verdict === 'error').length;
  const warnings = checks.filter(({ verdict }) => verdict === 'warning').length;
  const warned = warnings === 0 ? '' : `, ${countText(warnings, 'warning')}`;
  return [
    ...wrap(`lab "${lab}", driver ${driver.value} (${driver.why})`, WIDTH, '  '),
    '',
    ...checks.flatMap((check) => checkLines(check, column)),
    '',
    errors === 0
      ? `${colors.green('ready')}: nothing stops labup${warned}`
      : `${colors.red('not ready')}: ${countText(errors, 'error')}${warned}; labup would stop before it touches anything`,
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

/** What a bundle is, for `--json`: its description without the files, and how many they are. */
export function aboutBundle({ architecture, distribution, cni, versions, files }: BundleManifest) {
  return { architecture, distribution, cni, versions, files: files.length };
}

/** One line about a bundle and whether it is complete. */
export function bundleText(folder: string, manifest: BundleManifest, problems = 0): string {
  const { architecture, distribution, cni, versions, files } = manifest;
  const calico = versions.calico === undefined ? '' : ` ${versions.calico}`;
  const about = `${distribution} ${versions.kubernetes} with ${cni}${calico}, ${architecture}, ${files.length} files`;
  return problems === 0
    ? `${colors.green('ok')}  ${folder}: ${about}`
    : `${colors.red('broken')}  ${folder}: ${about}, ${problems} wrong`;
}
