import pc from 'picocolors';
import { wrap } from '../shared/text.ts';
import type { LabReport } from './json.ts';
import { describeExpected, describeObserved } from './words.ts';

type ReportCell = LabReport['cells'][number];
type ReportCheck = LabReport['checks'][number];

/** A cell or check that both reports have. */
export interface Change<T> {
  readonly id: string;
  readonly before: T;
  readonly after: T;
}

/** What is different between two reports, by id. Each list is in the order of the report that has the items. */
export interface ReportDiff {
  readonly labs: readonly [before: string, after: string];
  /** Right before, and now failed, blocked or not known. */
  readonly newFailures: readonly Change<ReportCell>[];
  /** The other way round. */
  readonly fixed: readonly Change<ReportCell>[];
  /** Another change of verdict: passed to flaky, failed to blocked, anything to or from skipped. */
  readonly otherVerdict: readonly Change<ReportCell>[];
  /** Wrong in both, but for another reason. */
  readonly otherReason: readonly Change<ReportCell>[];
  /** Another outcome, other servers or other client addresses are expected. A cell can be here and in a list above. */
  readonly changedExpectation: readonly Change<ReportCell>[];
  readonly onlyBefore: readonly ReportCell[];
  readonly onlyAfter: readonly ReportCell[];
  /** Cells of the one that were not chosen in the other, so that nothing is known about a difference. */
  readonly notChosen: { readonly before: number; readonly after: number };
  readonly checks: {
    readonly newFailures: readonly Change<ReportCheck>[];
    readonly fixed: readonly Change<ReportCheck>[];
    readonly otherReason: readonly Change<ReportCheck>[];
    readonly onlyBefore: readonly ReportCheck[];
    readonly onlyAfter: readonly ReportCheck[];
  };
  /** Cells that both have and that did not change in any of these ways. */
  readonly unchanged: number;
}

/** Compares two reports cell by cell and check by check. Pure; the order of cells does not matter. */
export function diffReports(before: LabReport, after: LabReport): ReportDiff {
  const cells = pair(before.cells, after.cells);
  const checks = pair(before.checks, after.checks);
  // Where both are partial, the same was chosen in both, as when a lab is watched.
  const fewerBefore = before.chosenFrom !== undefined && after.chosenFrom === undefined;
  const fewerAfter = after.chosenFrom !== undefined && before.chosenFrom === undefined;
  const newFailures = cells.both.filter(goesWrong);
  const fixed = cells.both.filter(goesRight);
  const otherVerdict = cells.both.filter(
    (each) => each.before.verdict !== each.after.verdict && !goesWrong(each) && !goesRight(each),
  );
  const otherReason = cells.both.filter((each) => staysWrong(each, cellReason));
  const changedExpectation = cells.both.filter(
    (each) => expectationKey(each.before) !== expectationKey(each.after),
  );
  const changed = new Set(
    [newFailures, fixed, otherVerdict, otherReason, changedExpectation].flatMap((list) =>
      list.map(({ id }) => id),
    ),
  );
  return {
    labs: [before.lab, after.lab],
    newFailures,
    fixed,
    otherVerdict,
    otherReason,
    changedExpectation,
    onlyBefore: fewerAfter ? [] : cells.onlyBefore,
    onlyAfter: fewerBefore ? [] : cells.onlyAfter,
    notChosen: {
      before: fewerBefore ? cells.onlyAfter.length : 0,
      after: fewerAfter ? cells.onlyBefore.length : 0,
    },
    checks: {
      newFailures: checks.both.filter(goesWrong),
      fixed: checks.both.filter(goesRight),
      otherReason: checks.both.filter((each) => staysWrong(each, ({ reason }) => reason)),
      onlyBefore: checks.onlyBefore,
      onlyAfter: checks.onlyAfter,
    },
    unchanged: cells.both.length - changed.size,
  };
}

/** Whether anything is different. */
export function hasChanges(diff: ReportDiff): boolean {
  const { newFailures, fixed, otherVerdict, otherReason, changedExpectation, checks } = diff;
  const lists = [newFailures, fixed, otherVerdict, otherReason, changedExpectation];
  const gone = [diff.onlyBefore, diff.onlyAfter];
  return [...lists, ...gone, ...Object.values(checks)].some((list) => list.length > 0);
}

/** The differences for people. No line is longer than `width`, but for a word that is. */
export function renderDiff(
  diff: ReportDiff,
  options: { readonly color: boolean; readonly width?: number },
): string {
  const width = Math.max(60, Math.min(options.width ?? 100, 100));
  const paint = pc.createColors(options.color);
  const cell = ({ id, before, after }: Change<ReportCell>) => [
    ...wrap(`${id}: ${before.verdict} -> ${after.verdict}`, width, '      ', '  '),
    ...wrap(`expected: ${describeExpected(after.expected)}`, width, '      ', '    '),
    ...wrap(
      `observed: ${describeObserved(after.observed)}${after.detail === undefined ? '' : `: ${after.detail}`}`,
      width,
      '      ',
      '    ',
    ),
  ];
  const expectation = ({ id, before, after }: Change<ReportCell>) => [
    ...wrap(id, width, '      ', '  '),
    ...wrap(`before: ${describeExpected(before.expected)}`, width, '      ', '    '),
    ...wrap(`now: ${describeExpected(after.expected)}`, width, '      ', '    '),
    ...wrap(`why: ${after.expected.why}`, width, '      ', '    '),
  ];
  const check = ({ before, after }: Change<ReportCheck>) => [
    ...wrap(`${after.title}: ${before.verdict} -> ${after.verdict}`, width, '      ', '  '),
    ...wrap(`observed: ${after.observed}`, width, '      ', '    '),
  ];
  const verdict = ({ id, before, after }: Change<{ readonly verdict: string }>) =>
    wrap(`${id}: ${before.verdict} -> ${after.verdict}`, width, '      ', '  ');
  const only = ({ id, verdict: each }: { readonly id: string; readonly verdict: string }) =>
    wrap(`${id} (${each})`, width, '      ', '  ');
  const section = <T>(title: string, items: readonly T[], lines: (item: T) => string[]) =>
    items.length === 0 ? [] : [[`${title}: ${items.length}`, ...items.flatMap(lines)].join('\n')];
  const [labBefore, labAfter] = diff.labs;
  const texts = [
    ...(labBefore === labAfter ? [] : [paint.yellow(`These are two labs: ${labBefore} and ${labAfter}.`)]),
    ...section(paint.red('New failures'), diff.newFailures, cell),
    ...section(paint.red('Newly failing checks'), diff.checks.newFailures, check),
    ...section(paint.green('Fixed'), diff.fixed, verdict),
    ...section(paint.green('Fixed checks'), diff.checks.fixed, verdict),
    ...section('Other changes of verdict', diff.otherVerdict, verdict),
    ...section('Wrong for another reason', diff.otherReason, cell),
    ...section('Checks that fail for another reason', diff.checks.otherReason, check),
    ...section('Changed expectations', diff.changedExpectation, expectation),
    ...section('Cells that are gone', diff.onlyBefore, only),
    ...section('New cells', diff.onlyAfter, only),
    ...section('Checks that are gone', diff.checks.onlyBefore, only),
    ...section('New checks', diff.checks.onlyAfter, only),
  ];
  const { notChosen } = diff;
  const ending = [
    `${texts.length === 0 ? 'No difference: ' : ''}${diff.unchanged} cells are as they were.`,
    ...(notChosen.after > 0 ? [`${notChosen.after} were not chosen this time.`] : []),
    ...(notChosen.before > 0 ? [`${notChosen.before} were not chosen before.`] : []),
  ].join(' ');
  return `${[...texts, ending].join('\n\n')}\n`;
}

function pair<T extends { readonly id: string }>(before: readonly T[], after: readonly T[]) {
  const old = new Map(before.map((item) => [item.id, item]));
  const now = new Set(after.map(({ id }) => id));
  return {
    both: after.flatMap((item): readonly Change<T>[] => {
      const earlier = old.get(item.id);
      return earlier === undefined ? [] : [{ id: item.id, before: earlier, after: item }];
    }),
    onlyBefore: before.filter(({ id }) => !now.has(id)),
    onlyAfter: after.filter(({ id }) => !old.has(id)),
  };
}

type HasVerdict = Change<{ readonly verdict: string }>;
const RIGHT: readonly string[] = ['passed', 'flaky'];
const WRONG: readonly string[] = ['failed', 'blocked', 'harness'];

function goesWrong({ before, after }: HasVerdict): boolean {
  return RIGHT.includes(before.verdict) && WRONG.includes(after.verdict);
}

function goesRight({ before, after }: HasVerdict): boolean {
  return WRONG.includes(before.verdict) && RIGHT.includes(after.verdict);
}

/** Wrong before and after, and not for the same reason. */
function staysWrong<T extends { readonly verdict: string }>(
  { before, after }: Change<T>,
  reasonOf: (item: T) => string,
): boolean {
  const isWrong = [before, after].every(({ verdict }) => WRONG.includes(verdict));
  return isWrong && reasonOf(before) !== reasonOf(after);
}

function cellReason({ observed, finding }: ReportCell): string {
  return [observed?.outcome, finding?.reason].join(' ');
}

/** Servers and clients are sets. */
function expectationKey({ expected: { outcome, servers, clients } }: ReportCell): string {
  return JSON.stringify([outcome, [...servers].sort(), [...clients].sort()]);
}
