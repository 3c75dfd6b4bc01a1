import type { CheckVerdict } from '../bgp/checks/check.ts';
import type { Cell, CellResult, Expectation, Observation } from '../matrix/types.ts';
import { countText } from './causes.ts';

/** An expectation in one line: "ok from 10.255.0.70, seen as 192.168.13.40", or just the outcome. */
export function describeExpected({
  outcome,
  servers,
  clients,
}: Pick<Expectation, 'outcome' | 'servers' | 'clients'>): string {
  // The expectation of a cell that is not tried on purpose says nothing.
  if (outcome === 'harness-error') return 'nothing';
  if (outcome !== 'ok') return outcome;
  return `ok from ${oneOf(servers)}, seen as ${oneOf(clients)}`;
}

/** An observation in one line, in the same form. */
export function describeObserved(observed: Omit<Observation, 'detail'> | null): string {
  if (observed === null) return 'not tried';
  const { outcome, server, client, attempts, httpStatus } = observed;
  const from = server === null ? outcome : `${outcome} from ${server}, seen as ${client}`;
  const answer = httpStatus === undefined ? from : `${from}, status ${httpStatus}`;
  return attempts > 1 ? `${answer} (${attempts} attempts)` : answer;
}

/** Why a cell is there that nobody asked for: "added as positive control of A and 2 more cells". */
export function describeControl([first, ...others]: readonly string[]): string {
  const more = others.length === 0 ? '' : ` and ${countText(others.length, 'more cell')}`;
  return `added as positive control of ${first}${more}`;
}

/** Cells in a few words, without losing one: "bgp, routed > headless:1234/tcp, headless:5678/udp". One text per line. */
export function describeCells(cells: readonly Pick<Cell, 'id' | 'from'>[]): readonly string[] {
  const targets = new Map<string, string[]>();
  for (const { id, from } of cells)
    targets.set(from, [...(targets.get(from) ?? []), id.slice(from.length + 1)]);
  const froms = new Map<string, string[]>();
  for (const [from, to] of targets) {
    const list = to.join(', ');
    froms.set(list, [...(froms.get(list) ?? []), from]);
  }
  return [...froms].map(([to, from]) => `${from.join(', ')}>${to}`);
}

function oneOf(addresses: readonly string[]): string {
  return addresses.join(' or ') || 'nobody';
}

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
