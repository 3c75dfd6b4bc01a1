import { POLICY } from './proof-drops.ts';
import { type Cell, type CellResult, isTried } from './types.ts';

/**
 * The cells of a source that show, if they pass, that what it sends gets to other machines: those that must be answered, or,
 * where nothing can answer because no server is ready, those that another machine must refuse. Pure.
 */
export function controlsFrom(from: string, cells: readonly Cell[]): readonly Cell[] {
  const own = cells.filter((cell) => cell.from === from);
  const answered = own.filter(mustGetThrough);
  return answered.length > 0
    ? answered
    : own.filter(({ expected: { outcome, chain } }) => outcome === 'refused' && chain.at(-1)?.at !== from);
}

/**
 * True where a policy on another machine stops the cell, and nothing that its source sends gets through: then it is what its
 * rules count that shows that the source sends at all. Pure.
 */
export function isItsOwnControl({ from, expected }: Cell, cells: readonly Cell[]): boolean {
  const last = expected.chain.at(-1);
  const isPolicy = POLICY.test(last?.chains?.at(-1) ?? '');
  return isPolicy && last?.at !== from && controlsFrom(from, cells).length === 0;
}

/** A connection that got through, from the same source in the same run. */
export interface Control {
  readonly cell: Cell;
  /** It went to the same machine or pod as the one that failed. */
  readonly sameHost: boolean;
}

/** The best control for a cell that failed; undefined where nothing got through. */
export function controlFor(cell: Cell, results: readonly CellResult[]): Control | undefined {
  const passed = new Set(results.flatMap((each) => (each.verdict === 'passed' ? [each.cell.id] : [])));
  const controls = controlsFrom(
    cell.from,
    results.map((result) => result.cell),
  );
  const good = controls.filter(({ id }) => passed.has(id));
  const best = nearest(cell, good);
  return best === undefined ? undefined : { cell: best, sameHost: isSameHost(cell, best) };
}

/**
 * The chosen cells of a matrix in its order, and with them what they need to prove anything: from each source
 * where all that was chosen and is tried must fail, one cell that must get through, marked with those that it was added
 * for. Where every such cell is blocked it is one of these, for then that is the reason why nothing is known. Pure.
 */
export function withControls(matrix: readonly Cell[], chosen: readonly Cell[]): readonly Cell[] {
  const controls = new Map<string, Cell>();
  for (const from of new Set(chosen.map((cell) => cell.from))) {
    const negatives = chosen.filter((cell) => cell.from === from && isTried(cell) && !mustGetThrough(cell));
    const [first] = negatives;
    if (first === undefined) continue;
    const positives = controlsFrom(from, matrix);
    const open = positives.filter(isTried);
    const usable = open.length > 0 ? open : positives.filter(({ blockedBy }) => blockedBy !== undefined);
    if (usable.some(({ id }) => chosen.some((cell) => cell.id === id))) continue;
    const best = nearest(first, usable);
    if (best !== undefined) controls.set(best.id, { ...best, controlOf: negatives.map(({ id }) => id) });
  }
  const wanted = new Map(chosen.map((cell) => [cell.id, cell]));
  return matrix.flatMap(({ id }) => wanted.get(id) ?? controls.get(id) ?? []);
}

function mustGetThrough({ expected }: Cell): boolean {
  return expected.outcome === 'ok';
}

/** The one that goes to the same host as the cell, or the first. */
function nearest(cell: Cell, others: readonly Cell[]): Cell | undefined {
  return others.find((other) => isSameHost(cell, other)) ?? others[0];
}

function isSameHost(cell: Cell, other: Cell): boolean {
  return cell.address === other.address || (cell.node !== undefined && cell.node === other.node);
}
