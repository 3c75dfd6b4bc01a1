import type pc from 'picocolors';
import type { Check } from '../bgp/checks/check.ts';
import { wrap } from './wrap.ts';

export interface CheckLineOptions {
  readonly width: number;
  readonly paint: ReturnType<typeof pc.createColors>;
  /** Show every check, not only those that did not pass. */
  readonly verbose: boolean;
}

const SIGNS = { passed: '✓', failed: '✗', blocked: '-', skipped: 's', harness: '!' } as const;

/** The checks for people: one line per group, and those that did not pass in full. */
export function checkLines(checks: readonly Check[], options: CheckLineOptions): string[] {
  const groups = new Map<string, Check[]>();
  for (const check of checks) groups.set(groupOf(check), [...(groups.get(groupOf(check)) ?? []), check]);
  return [...groups].flatMap(([group, members]) => {
    const passed = members.filter(({ verdict }) => verdict === 'passed').length;
    const line = `${passed === members.length ? SIGNS.passed : SIGNS.failed} ${group}: ${passed} of ${members.length}`;
    return [
      passed === members.length ? options.paint.green(line) : options.paint.red(line),
      ...members.flatMap((check) => detailLines(check, options)),
    ];
  });
}

function detailLines(check: Check, { width, verbose }: CheckLineOptions): string[] {
  const title = `${SIGNS[check.verdict]} ${check.title}`;
  if (check.verdict === 'passed')
    return verbose ? wrap(`${title}: ${check.observed}`, width, '      ', '  ') : [];
  return [
    ...wrap(check.verdict === 'harness' ? `${title} (not known)` : title, width, '      ', '  '),
    ...wrap(`expected: ${check.expected}`, width, '        ', '      '),
    ...wrap(`observed: ${check.observed}`, width, '        ', '      '),
    ...wrap(`why: ${check.why}`, width, '        ', '      '),
  ];
}

const GROUPS: readonly (readonly [prefix: string, name: string])[] = [
  ['bgp.session.', 'BGP sessions'],
  ['bgp.route.', 'routes'],
  ['dns.', 'DNS'],
  ['workloads.', 'workloads'],
];

function groupOf({ id }: Check): string {
  return GROUPS.find(([prefix]) => id.startsWith(prefix))?.[1] ?? id.split('.')[0] ?? id;
}
