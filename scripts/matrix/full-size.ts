import { type Check, type CheckOf, makeCheck } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import type { ObservedState } from './state/types.ts';
import type { CellResult, FullSize } from './types.ts';

/** What probe/full_size.py sends and wants back over TCP. */
const STREAM_BYTES = 65_536;

/** Whether full-size packets did not come through. */
export function isLost(size: FullSize | undefined): boolean {
  return size !== undefined && size.lost !== null;
}

/**
 * Whether every way that carries small packets carries full-size ones too. Ways that lose them are put down to the machine
 * that they have in common: one hole is one finding. Pure.
 */
export function checkFullSize(
  plan: LabPlan,
  state: ObservedState,
  results: readonly CellResult[],
  sizes: ReadonlyMap<string, FullSize>,
): readonly Check[] {
  const ways = results.flatMap(({ cell, verdict }): Way[] => {
    const size = sizes.get(cell.id);
    if (size === undefined || (verdict !== 'passed' && verdict !== 'flaky')) return [];
    const machines = cell.expected.chain.map(({ at }) => at).filter((at) => !at.startsWith('pod/'));
    return [{ id: cell.id, size, places: placesOf(cell.from, machines) }];
  });
  if (ways.length === 0) return [];
  const lost = ways.filter(({ size }) => isLost(size));
  const whole = ways.filter(({ size }) => !isLost(size));
  const holes = holesOf(linksOf(plan, state), lost, whole);
  const reason =
    lost.length === 0
      ? 'as-wanted'
      : holes.some(({ link }) => link !== undefined)
        ? 'small-link'
        : ('lost' as const);
  return [
    makeCheck(
      'full-size',
      {},
      {
        reason,
        wanted: { streamBytes: STREAM_BYTES },
        seen: { ways: ways.length, holes },
      },
    ),
  ];
}

interface Way {
  readonly id: string;
  readonly size: FullSize;
  /** The machines on it; the one where it begins is another place than the same machine further on. */
  readonly places: readonly Place[];
}

interface Place {
  readonly machine: string;
  readonly key: string;
}

function placesOf(from: string, machines: readonly string[]): readonly Place[] {
  return [...new Set(machines)].map((machine) => ({
    machine,
    key: machine === from ? `from ${machine}` : machine,
  }));
}

type Hole = NonNullable<CheckOf<'full-size'>['seen']>['holes'][number];
type Links = ReadonlyMap<string, { readonly name: string; readonly mtu: number }>;

/** The fewest machines that all lost ways lead over: those with a small link first, then those that lose the most. */
function holesOf(links: Links, lost: readonly Way[], whole: readonly Way[]): readonly Hole[] {
  const usualMtu = Math.max(0, ...[...links.values()].map(({ mtu }) => mtu));
  const holes: Hole[] = [];
  for (let rest = lost; rest.length > 0; ) {
    const [best] = rest
      .flatMap(({ places }) => places)
      .map(({ machine, key }) => {
        const own = links.get(machine);
        const link = own !== undefined && own.mtu < usualMtu ? { ...own, usualMtu } : undefined;
        const [ways, others] = [over(key, rest), over(key, whole)];
        const score = [link === undefined ? 0 : 1, ways.length, -others.length];
        // Where others that lead over it are whole, it takes more than this machine.
        const machines = link !== undefined || others.length === 0 ? [machine] : commonOf(ways);
        return { ways, score, machines, link };
      })
      .sort((a, b) => byScore(b.score, a.score));
    const { ways, machines, link } = best ?? { ways: rest, machines: [], link: undefined };
    const [{ id, size } = { id: '', size: undefined }] = ways;
    holes.push({
      ...{ machines, lost: ways.length, cell: id, detail: size?.detail ?? null },
      ...(link === undefined ? {} : { link }),
    });
    rest = rest.filter((way) => !ways.includes(way));
  }
  return holes;
}

function over(key: string, ways: readonly Way[]): readonly Way[] {
  return ways.filter(({ places }) => places.some((place) => place.key === key));
}

function commonOf(ways: readonly Way[]): readonly string[] {
  const [first, ...others] = ways;
  const isCommon = ({ key }: Place) => others.every(({ places }) => places.some((each) => each.key === key));
  return (first?.places ?? []).filter(isCommon).map(({ machine }) => machine);
}

function byScore(a: readonly number[], b: readonly number[]): number {
  return a.map((each, index) => each - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

/** Every machine's interface with its address in the lab. */
function linksOf(plan: LabPlan, { machines }: ObservedState): Links {
  return new Map(
    plan.machines.flatMap((machine) =>
      (machines.get(machine.name)?.interfaces ?? []).flatMap(({ name, mtu, addresses }) =>
        mtu !== undefined && addresses.some(({ address }) => address === machine.address)
          ? [[machine.name, { name, mtu }] as const]
          : [],
      ),
    ),
  );
}
