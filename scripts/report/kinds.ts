import type { CheckVerdict } from '../bgp/checks/check.ts';
import type { CellResult } from '../matrix/types.ts';

/** What a cell looks like in a report. A failure that had to happen is told apart from a connection that works. */
export const KINDS = [
  'works',
  'fails-as-expected',
  'failed',
  'harness',
  'flaky',
  'blocked',
  'skipped',
] as const;
export type Kind = (typeof KINDS)[number];

/** Every kind has a sign of its own, so that colour is never needed to tell them apart. */
export const KIND_TEXTS: Readonly<Record<Kind, { readonly sign: string; readonly text: string }>> = {
  works: { sign: '✓', text: 'works as expected' },
  'fails-as-expected': { sign: '·', text: 'fails as expected' },
  failed: { sign: '✗', text: 'wrong' },
  harness: { sign: '!', text: 'not known' },
  flaky: { sign: '~', text: 'right at the second try' },
  blocked: { sign: '-', text: 'blocked' },
  skipped: { sign: 's', text: 'skipped' },
};

export const CHECK_SIGNS: Readonly<Record<CheckVerdict, string>> = {
  passed: KIND_TEXTS.works.sign,
  failed: KIND_TEXTS.failed.sign,
  blocked: KIND_TEXTS.blocked.sign,
  skipped: KIND_TEXTS.skipped.sign,
  harness: KIND_TEXTS.harness.sign,
};

/** What a result looks like: its verdict, with the passed ones in two. */
export function kindOf({ cell, verdict }: CellResult): Kind {
  if (verdict !== 'passed') return verdict;
  return cell.expected.outcome === 'ok' ? 'works' : 'fails-as-expected';
}

/** The kinds that a legend must explain: those that every reader expects, and the others if there are any. */
export function kindsToExplain(results: readonly CellResult[]): readonly Kind[] {
  const seen = new Set(results.map(kindOf));
  const always: readonly Kind[] = ['works', 'fails-as-expected', 'failed', 'harness'];
  return KINDS.filter((kind) => always.includes(kind) || seen.has(kind));
}
