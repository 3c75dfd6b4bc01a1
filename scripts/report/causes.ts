import type { Check } from '../bgp/checks/check.ts';
import type { CellResult, Verdict } from '../matrix/types.ts';
import { groupBy } from '../shared/group.ts';

/** Results that tell the same story but for names and addresses: one cause, however many cells it broke. */
export interface Cause<T> {
  readonly first: T;
  readonly members: readonly T[];
}

/**
 * The cells of one verdict by cause. Two cells share a cause if the same hop was found to differ; else if cells of their
 * kind expect and saw the same for the same reason. Only a few red cells may have been watched: where these found one
 * difference, it is told for all of the same story, by the one that was watched.
 */
export function cellCauses(results: readonly CellResult[], verdict: Verdict): readonly Cause<CellResult>[] {
  const members = results.filter((result) => result.verdict === verdict);
  const keys = new Map(
    [...groupBy(members, storyOf)].flatMap(([story, alike]) => {
      const found = new Set(alike.flatMap((each) => differenceOf(each) ?? []));
      const [only] = found.size === 1 ? found : [];
      return alike.map((each) => [each, differenceOf(each) ?? only ?? story] as const);
    }),
  );
  const watchedFirst = (a: CellResult, b: CellResult) =>
    Number(b.evidence !== undefined) - Number(a.evidence !== undefined);
  const groups = groupBy(members, (each) => keys.get(each) ?? '');
  return causesOf(new Map([...groups].map(([key, each]) => [key, [...each].sort(watchedFirst)])));
}

function storyOf({ cell, observed, finding, proof }: CellResult): string {
  const reasons = [finding?.reason, ...(proof ?? []).map(({ reason }) => reason)];
  const end = cell.expected.chain.at(-1)?.layer;
  return [cell.kind, cell.expected.outcome, observed?.outcome, end, ...reasons].join(' ');
}

/** What was found to differ. A rule is one cause, however often it matched and whatever interface packets met it by. */
function differenceOf({ evidence }: CellResult): string | undefined {
  if (evidence === undefined) return undefined;
  const { difference } = evidence;
  if (!('rule' in difference) || difference.rule === undefined) return JSON.stringify(difference);
  const { reason, at, rule } = difference;
  return [reason, at, rule.chain, rule.rule].join(' ');
}

/** The cells of a verdict that nothing was seen of, by the reason that is given. */
export function reasonCauses(results: readonly CellResult[], verdict: Verdict): readonly Cause<CellResult>[] {
  const members = results.filter((result) => result.verdict === verdict);
  return causesOf(groupBy(members, ({ finding }) => JSON.stringify(finding)));
}

/** Checks of one group by cause: those that did not pass for the same reason. */
export function checkCauses(checks: readonly Check[]): readonly Cause<Check>[] {
  return causesOf(
    groupBy(checks, ({ id, kind, verdict, reason, blockedBy }) =>
      verdict === 'passed' ? id : [verdict, kind, reason, blockedBy].join(' '),
    ),
  );
}

/** What the members of a cause have in common to say, e.g. "8 cells". */
export function countText(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`;
}

function causesOf<T>(groups: ReadonlyMap<string, readonly T[]>): readonly Cause<T>[] {
  return [...groups.values()].flatMap((members) => {
    const [first] = members;
    return first === undefined ? [] : [{ first, members }];
  });
}
