import { CHECK_VERDICTS, type Check } from '../bgp/checks/check.ts';
import { type Cell, type CellResult, VERDICTS, type Verdict } from '../matrix/types.ts';
import type { LabPlan } from '../plan/types.ts';
import { EXIT, type ExitCode, HarnessError } from '../shared/errors.ts';
import { countText } from './causes.ts';

/** One run of labtest: what every report is made from. The optional parts are reported where they are present. */
export interface LabRun {
  readonly lab: string;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly checks: readonly Check[];
  readonly cells: readonly CellResult[];
  /** How many cells the whole matrix has, where only some of them were chosen. */
  readonly chosenFrom?: number;
  /** For the drawing of the lab. */
  readonly plan?: LabPlan;
  readonly bgpTables?: readonly BgpTable[];
  readonly timings?: readonly { readonly step: string; readonly ms: number }[];
  /** What changed in the lab while it was tested, one sentence each. */
  readonly moved?: readonly string[];
  /** Why the run ended early; cells that it did not get to are skipped. */
  readonly aborted?: string;
}

/** One routing table as it was seen. */
export interface BgpTable {
  readonly machine: string;
  readonly table: string;
  readonly routes: readonly { readonly prefix: string; readonly nextHops: readonly string[] }[];
}

/**
 * A run that ended early: what is known of it, and every planned cell that it did not get to as skipped. So its
 * reports still add up.
 */
export function abortedRun(known: LabRun, reason: string, planned: readonly Cell[] = []): LabRun {
  const done = new Map(known.cells.map((result) => [result.cell.id, result]));
  const unplanned = known.cells.filter(({ cell }) => !planned.some(({ id }) => id === cell.id));
  const notReached = { observed: null, verdict: 'skipped', finding: { reason: 'aborted' } } as const;
  return {
    ...known,
    aborted: reason,
    cells: [...planned.map((cell) => done.get(cell.id) ?? { cell, ...notReached }), ...unplanned],
  };
}

/** How many cells were planned and what became of them; `planned` is the sum of the rest. */
export type Summary = Readonly<Record<'planned' | Verdict, number>>;

/**
 * Counts the cells of a run. `planned` is how many cells the matrix had: throws HarnessError where a result is missing,
 * is there twice, or was never planned, because then the counts would lie.
 */
export function summarize(
  run: LabRun,
  planned: readonly { readonly id: string }[] = run.cells.map(({ cell }) => cell),
): Summary {
  const ids = run.cells.map(({ cell }) => cell.id);
  const wanted = planned.map(({ id }) => id);
  refuse('have more than one result', repeated(ids));
  refuse('have no result', missingFrom(ids, wanted));
  refuse('were never planned', missingFrom(wanted, ids));
  refuse('are checks with the same id', repeated(run.checks.map(({ id }) => id)));
  const counts = countBy(
    VERDICTS,
    run.cells.map(({ verdict }) => verdict),
  );
  return { planned: planned.length, ...counts };
}

/** How many of the checks have which verdict. */
export function summarizeChecks(run: LabRun): Readonly<Record<(typeof CHECK_VERDICTS)[number], number>> {
  return countBy(
    CHECK_VERDICTS,
    run.checks.map(({ verdict }) => verdict),
  );
}

/**
 * The exit code of a run. Something that is wrong for certain goes before what is not known: 1 where a cell or check
 * failed; 4 where the run was aborted, a cell or check has no verdict, or none passed at all; 1 where something was blocked; 3 where
 * nobody can judge a service's cell, because what is there is not modelled, and with `strict` where a cell was flaky or
 * anything was skipped; else 0.
 */
export function exitCodeOf(run: LabRun, options: { readonly strict?: boolean } = {}): ExitCode {
  const verdicts = [...run.cells, ...run.checks].map(({ verdict }) => verdict);
  if (verdicts.includes('failed')) return EXIT.wrong;
  if (run.aborted !== undefined) return EXIT.harness;
  if (verdicts.includes('harness')) return EXIT.harness;
  if (verdicts.includes('blocked')) return EXIT.wrong;
  if (!run.cells.some(({ verdict }) => verdict === 'passed' || verdict === 'flaky')) return EXIT.harness;
  if (unjudged(run).length > 0) return EXIT.strict;
  if (options.strict === true && (verdicts.includes('flaky') || verdicts.includes('skipped')))
    return EXIT.strict;
  return EXIT.pass;
}

/** The services that have cells which are not modelled: a run that could not judge them is not right. */
function unjudged({ cells }: Pick<LabRun, 'cells'>): readonly string[] {
  const services = cells.flatMap(({ cell, verdict, finding }) =>
    verdict === 'skipped' && finding?.reason === 'not-modelled' ? (cell.service ?? []) : [],
  );
  return [...new Set(services)];
}

/** The run in a few words, for a heading. `right` is true only where every cell and every check passed. */
export function conclusionOf(run: LabRun): { readonly right: boolean; readonly text: string } {
  const { right, text } = withoutSkipped(run);
  const cells = summarize(run).skipped;
  const checks = summarizeChecks(run).skipped;
  const services = unjudged(run);
  const skipped = [
    ...(cells > 0 ? [countText(cells, 'cell')] : []),
    ...(checks > 0 ? [countText(checks, 'check')] : []),
  ];
  return {
    right,
    text: [
      text,
      ...(skipped.length > 0 ? [`${skipped.join(' and ')} skipped`] : []),
      ...(services.length > 0
        ? [`of ${countText(services.length, 'service')} it is not known whether it works`]
        : []),
    ].join('; '),
  };
}

function withoutSkipped(run: LabRun): { readonly right: boolean; readonly text: string } {
  const { planned, passed, failed, flaky, harness, blocked } = summarize(run);
  const checks = summarizeChecks(run);
  const wrong = [
    ...(failed > 0 ? [`${failed} of ${planned} cells`] : []),
    ...(checks.failed > 0 ? [`${checks.failed} of ${run.checks.length} checks`] : []),
  ];
  const isRight =
    run.aborted === undefined && planned > 0 && passed === planned && checks.passed === run.checks.length;
  if (isRight) return { right: true, text: 'everything is as it should be' };
  if (planned === 0) return { right: false, text: 'nothing was planned, so nothing is known' };
  if (wrong.length > 0) return { right: false, text: `wrong: ${wrong.join(' and ')}` };
  if (run.aborted !== undefined) return { right: false, text: 'the run was aborted' };
  if (harness + checks.harness > 0)
    return {
      right: false,
      text: `nothing wrong was seen, but ${harness + checks.harness} could not be tested`,
    };
  if (blocked + checks.blocked > 0)
    return {
      right: false,
      text: `${blocked + checks.blocked} could not be tested: something below is broken`,
    };
  if (flaky > 0)
    return { right: false, text: `${flaky} of ${planned} cells were right only at the second try` };
  return { right: false, text: 'not everything was tested' };
}

function countBy<T extends string>(names: readonly T[], seen: readonly T[]): Record<T, number> {
  const entries = names.map((name) => [name, seen.filter((each) => each === name).length]);
  return Object.fromEntries(entries) as Record<T, number>;
}

function repeated(ids: readonly string[]): readonly string[] {
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}

function missingFrom(present: readonly string[], wanted: readonly string[]): readonly string[] {
  const known = new Set(present);
  return wanted.filter((id) => !known.has(id));
}

function refuse(what: string, ids: readonly string[]): void {
  if (ids.length > 0)
    throw new HarnessError(`The results do not add up: ${ids.length} ${what}.`, {
      details: ids.slice(0, 10),
    });
}
