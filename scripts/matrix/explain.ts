import { UserError } from '../shared/errors.ts';
import { globMatches } from '../shared/glob.ts';
import type { Cell } from './types.ts';

/** A cell's expectation in lines of text: what, why, and the packet's way step by step. */
export function explainCell(cell: Cell): readonly string[] {
  const { expected } = cell;
  const { outcome, servers, clients, why, chain } = expected;
  const places = Math.max(0, ...chain.map(({ at }) => at.length));
  const layers = Math.max(0, ...chain.map(({ layer }) => layer.length));
  return [
    cell.id,
    cell.protocol === 'icmp'
      ? `  pings ${cell.address}`
      : `  connects to ${cell.address}:${cell.port}/${cell.protocol}`,
    ...statusOf(cell, outcome),
    ...(outcome === 'ok'
      ? [
          `  answered by ${servers.join(' or ')}`,
          ...(cell.protocol === 'icmp' ? [] : [`  which sees the client as ${clients.join(' or ')}`]),
        ]
      : []),
    `  because: ${why}`,
    ...(chain.length === 0 ? [] : ['  the way of its first packet:']),
    ...chain.map(
      ({ at, layer, text }, index) =>
        `  ${String(index + 1).padStart(4)}. ${at.padEnd(places)}  ${layer.padEnd(layers)}  ${text}`,
    ),
  ];
}

function statusOf({ blockedBy, skipped, chance }: Cell, outcome: string): readonly string[] {
  if (blockedBy !== undefined) return [`  not tried: ${blockedBy} failed`];
  if (skipped !== undefined) return ['  not tried: nothing certain can be said'];
  return [`  must end as: ${outcome}${chance === undefined ? '' : `, but ${chance}`}`];
}

/** How many cells are suggested for a pattern that fits none. */
const SUGGESTIONS = 5;

/**
 * The cells whose id contains the pattern, or is matched by it as a whole where it has `*` or `?`. An id that is given in
 * full is that cell alone. Throws UserError, with the nearest ids, where there is none.
 */
export function findCells(cells: readonly Cell[], pattern: string): readonly Cell[] {
  const exact = cells.filter(({ id }) => id === pattern);
  if (exact.length > 0) return exact;
  const isGlob = /[*?]/.test(pattern);
  const found = cells.filter(({ id }) => (isGlob ? globMatches(pattern, id) : id.includes(pattern)));
  if (found.length > 0) return found;
  throw new UserError(`No cell is called ${JSON.stringify(pattern)}.`, {
    details: nearest(
      cells.map(({ id }) => id),
      pattern,
    ).map((id) => `did you mean ${id} ?`),
    next: 'npx lab predict',
  });
}

/** The ids that share most pairs of neighbouring characters with the pattern. */
function nearest(ids: readonly string[], pattern: string): readonly string[] {
  const wanted = pairsOf(pattern);
  return ids
    .map((id) => {
      const pairs = pairsOf(id);
      const shared = [...wanted].filter((pair) => pairs.has(pair)).length;
      return { id, score: (2 * shared) / (wanted.size + pairs.size) };
    })
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || a.id.localeCompare(b.id))
    .slice(0, SUGGESTIONS)
    .map(({ id }) => id);
}

function pairsOf(text: string): ReadonlySet<string> {
  const lower = text.toLowerCase();
  return new Set(
    Array.from({ length: Math.max(0, lower.length - 1) }, (_, index) => lower.slice(index, index + 2)),
  );
}
