import type pc from 'picocolors';
import type { Check, CheckKind } from '../bgp/checks/check.ts';
import { type Cause, checkCauses, countText, groupBy } from './causes.ts';
import { describeCheck } from './check-text.ts';
import { CHECK_SIGNS } from './kinds.ts';
import { wrap, wrapItems } from './wrap.ts';

export interface CheckLineOptions {
  readonly width: number;
  readonly paint: ReturnType<typeof pc.createColors>;
  /** Show every check, not only those that did not pass. */
  readonly verbose: boolean;
}

/** Fewer checks than this are told one by one, even if they have a cause in common. */
const MANY = 3;
/** More lines of titles than this help nobody in a terminal. */
const MAX_TITLE_LINES = 4;

/** The checks for people: one line per group, and under it what did not pass, one entry per cause. */
export function checkLines(checks: readonly Check[], options: CheckLineOptions): string[] {
  return checkGroups(checks).flatMap(([group, members]) => {
    const passed = members.filter(({ verdict }) => verdict === 'passed').length;
    const line = `${passed === members.length ? CHECK_SIGNS.passed : CHECK_SIGNS.failed} ${group}: ${passed} of ${members.length}`;
    return [
      passed === members.length ? options.paint.green(line) : options.paint.red(line),
      ...checkCauses(members).flatMap((cause) => causeLines(cause, options)),
    ];
  });
}

/** The checks by group, in the order in which they come. */
export function checkGroups(checks: readonly Check[]): readonly (readonly [string, readonly Check[]])[] {
  return [...groupBy(checks, ({ kind }) => GROUPS[kind])];
}

function causeLines({ first, members }: Cause<Check>, options: CheckLineOptions): string[] {
  const { width } = options;
  const sign = CHECK_SIGNS[first.verdict];
  if (first.verdict === 'blocked' || first.verdict === 'skipped') {
    const { title, observed } = describeCheck(first);
    const what = members.length === 1 ? title : countText(members.length, 'check');
    return wrap(`${sign} ${what}: ${observed}`, width, '      ', '  ');
  }
  if (members.length < MANY) return members.flatMap((check) => detailLines(check, options));
  const titles = members.map((check) => describeCheck(check).title);
  const [head = '', ...rest] = titles.map((title, index) =>
    index < members.length - 1 ? `${title};` : title,
  );
  const lines = wrapItems([`    all: ${head}`, ...rest], ' ', width, '      ');
  return [
    ...wrap(`${sign} ${countText(members.length, 'check')}, e.g. ${titles[0]}`, width, '      ', '  '),
    ...storyLines(first, width),
    ...lines.slice(0, MAX_TITLE_LINES),
    ...(lines.length > MAX_TITLE_LINES ? ['      ... (the rest with --json or --html)'] : []),
  ];
}

function detailLines(check: Check, { width, verbose }: CheckLineOptions): string[] {
  const text = describeCheck(check);
  const title = `${CHECK_SIGNS[check.verdict]} ${text.title}`;
  if (check.verdict === 'passed')
    return verbose ? wrap(`${title}: ${text.observed}`, width, '      ', '  ') : [];
  return [
    ...wrap(check.verdict === 'harness' ? `${title} (not known)` : title, width, '      ', '  '),
    ...storyLines(check, width),
  ];
}

function storyLines(check: Check, width: number): string[] {
  const { expected, observed, why } = describeCheck(check);
  return [
    ...wrap(`expected: ${expected}`, width, '      ', '    '),
    ...wrap(`observed: ${observed}`, width, '      ', '    '),
    ...wrap(`why: ${why}`, width, '      ', '    '),
  ];
}

const GROUPS: Readonly<Record<CheckKind, string>> = {
  session: 'BGP sessions',
  route: 'routes',
  'unplanned-routes': 'routes',
  state: 'state',
  'proxy-mode': 'state',
  'client-pod': 'workloads',
  servers: 'workloads',
  services: 'workloads',
  masquerading: 'pod network',
  'pod-gateway': 'pod network',
  'service-rules': 'rules',
  'udp-flows': 'conntrack',
  'full-size': 'full-size packets',
  dns: 'DNS',
  'hash-policy': 'ECMP',
  spread: 'ECMP',
  affinity: 'affinity',
  run: 'labtest',
};
