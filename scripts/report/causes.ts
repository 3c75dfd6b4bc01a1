import type { Check } from '../bgp/checks/check.ts';
import type { CellResult, Verdict } from '../matrix/types.ts';
import { describeExpected, describeObserved } from './words.ts';

/** Results that tell the same story but for names and addresses: one cause, however many cells it broke. */
export interface Cause<T> {
  readonly first: T;
  readonly members: readonly T[];
}

/**
 * The cells of one verdict by cause. Two cells share a cause if the same hop was found to differ; else if they expect
 * and saw the same, for the same reason, once names, addresses and numbers are left out.
 */
export function cellCauses(results: readonly CellResult[], verdict: Verdict): readonly Cause<CellResult>[] {
  const members = results.filter((result) => result.verdict === verdict);
  const withoutNames = forgetter(results.flatMap(({ cell }) => [cell.from, cell.to, cell.node ?? '']));
  const story = ({ cell, observed, detail }: CellResult) =>
    withoutNames(
      [describeExpected(cell.expected), describeObserved(observed), detail ?? '', cell.expected.why].join(
        '\n',
      ),
    );
  return [...groupBy(members, story).values()]
    .flatMap(splitBySentence)
    .reduce<Cause<CellResult>[]>(mergeBySentence, []);
}

/** The cells of a verdict that nothing was seen of, by the reason that is given. */
export function reasonCauses(results: readonly CellResult[], verdict: Verdict): readonly Cause<CellResult>[] {
  const members = results.filter((result) => result.verdict === verdict);
  return causesOf(groupBy(members, ({ detail }) => detail ?? 'no reason given'));
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

// Only a few red cells may have been watched: the others of the same story are then told by them.
function splitBySentence(members: readonly CellResult[]): readonly Cause<CellResult>[] {
  const sentences = new Set(members.flatMap(({ evidence }) => evidence?.sentence ?? []));
  if (sentences.size > 1) return causesOf(groupBy(members, ({ evidence }) => evidence?.sentence ?? ''));
  const watched = members.filter(({ evidence }) => evidence !== undefined);
  return causesOf(new Map([['', [...watched, ...members.filter((each) => !watched.includes(each))]]]));
}

function mergeBySentence(causes: Cause<CellResult>[], cause: Cause<CellResult>): Cause<CellResult>[] {
  const sentence = cause.first.evidence?.sentence;
  const same = causes.findIndex(
    ({ first }) => sentence !== undefined && first.evidence?.sentence === sentence,
  );
  return same === -1
    ? [...causes, cause]
    : causes.map((each, index) =>
        index === same ? { ...each, members: [...each.members, ...cause.members] } : each,
      );
}

function causesOf<T>(groups: ReadonlyMap<string, readonly T[]>): readonly Cause<T>[] {
  return [...groups.values()].flatMap((members) => {
    const [first] = members;
    return first === undefined ? [] : [{ first, members }];
  });
}

/** The items by key, both in the order in which they come. */
export function groupBy<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** A function that blanks the given names, every address and every number out of a text, and lists of them. */
function forgetter(names: readonly string[]): (text: string) => string {
  const known = [...new Set(names.flatMap((name) => [name, name.replace(/^pod\//, '')]))]
    .filter((name) => name !== '')
    .sort((a, b) => b.length - a.length)
    .map((name) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const pattern = new RegExp([...known.map((name) => `\\b${name}\\b`), '\\d+(?:[./]\\d+)*'].join('|'), 'g');
  return (text) => text.replaceAll(pattern, '#').replaceAll(/#(?: or #|, #)+/g, '#');
}
