import type { Cell, Expectation, Observation } from '../matrix/types.ts';

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
  const { outcome, server, client, attempts } = observed;
  const answer = server === null ? outcome : `${outcome} from ${server}, seen as ${client}`;
  return attempts > 1 ? `${answer} (${attempts} attempts)` : answer;
}

/** Why a cell is there that nobody asked for: "added as positive control of A and 2 more cells". */
export function describeControl([first, ...others]: readonly string[]): string {
  const more = others.length === 0 ? '' : ` and ${others.length} more cell${others.length === 1 ? '' : 's'}`;
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
