import type pc from 'picocolors';
import type { Check } from '../bgp/checks/check.ts';
import { type Cause, checkCauses, countText, groupBy } from './causes.ts';
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

/** The checks by the group that their ids name, in the order in which they come. */
export function checkGroups(checks: readonly Check[]): readonly (readonly [string, readonly Check[]])[] {
  return [...groupBy(checks, groupOf)];
}

function causeLines({ first, members }: Cause<Check>, options: CheckLineOptions): string[] {
  const { width } = options;
  const sign = CHECK_SIGNS[first.verdict];
  if (first.verdict === 'blocked' || first.verdict === 'skipped') {
    const what = members.length === 1 ? first.title : countText(members.length, 'check');
    return wrap(`${sign} ${what}: ${first.observed}`, width, '      ', '  ');
  }
  if (members.length < MANY) return members.flatMap((check) => detailLines(check, options));
  const [head = '', ...rest] = members.map(({ title }, index) =>
    index < members.length - 1 ? `${title};` : title,
  );
  const titles = wrapItems([`    all: ${head}`, ...rest], ' ', width, '      ');
  return [
    ...wrap(`${sign} ${countText(members.length, 'check')}, e.g. ${first.title}`, width, '      ', '  '),
    ...storyLines(first, width),
    ...titles.slice(0, MAX_TITLE_LINES),
    ...(titles.length > MAX_TITLE_LINES ? ['      ... (the rest with --json or --html)'] : []),
  ];
}

function detailLines(check: Check, { width, verbose }: CheckLineOptions): string[] {
  const title = `${CHECK_SIGNS[check.verdict]} ${check.title}`;
  if (check.verdict === 'passed')
    return verbose ? wrap(`${title}: ${check.observed}`, width, '      ', '  ') : [];
  return [
    ...wrap(check.verdict === 'harness' ? `${title} (not known)` : title, width, '      ', '  '),
    ...storyLines(check, width),
  ];
}

function storyLines({ expected, observed, why }: Check, width: number): string[] {
  return [
    ...wrap(`expected: ${expected}`, width, '      ', '    '),
    ...wrap(`observed: ${observed}`, width, '      ', '    '),
    ...wrap(`why: ${why}`, width, '      ', '    '),
  ];
}

const GROUPS: readonly (readonly [prefix: string, name: string])[] = [
  ['bgp.session.', 'BGP sessions'],
  ['bgp.route.', 'routes'],
  ['dns.', 'DNS'],
  ['ecmp.', 'ECMP'],
  ['workloads.', 'workloads'],
  ['pod-network.', 'pod network'],
];

function groupOf({ id }: Check): string {
  return GROUPS.find(([prefix]) => id.startsWith(prefix))?.[1] ?? id.split('.')[0] ?? id;
}
