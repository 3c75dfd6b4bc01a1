import type { Executor } from '../exec/executor.ts';
import { judgeCells } from '../matrix/judge.ts';
import type { ProbeSource } from '../matrix/probe-sources.ts';
import { showCounters } from '../matrix/proof-counters.ts';
import { type CellToRun, runCells } from '../matrix/run.ts';
import { showSets } from '../matrix/state/machine.ts';
import type { ObservedState } from '../matrix/state/types.ts';
import type { Cell, CellResult, Evidence, Observation, PortProtocol } from '../matrix/types.ts';
import { evidenceOf } from './evidence.ts';
import { followFlow, type Sightings } from './flow.ts';
import { type RouteLookup, startWatch, type Watched, type WatchJob } from './watch.ts';

export interface InvestigateOptions {
  readonly state: ObservedState;
  readonly results: readonly CellResult[];
  readonly probeSources: ReadonlyMap<string, ProbeSource>;
  /** Machines to watch, by name. */
  readonly machines: ReadonlyMap<string, Executor>;
  /** Keeps a file under reports/evidence and returns its path. */
  readonly save: (name: string, content: string) => Promise<string>;
  readonly signal?: AbortSignal | undefined;
  /** Where the first source port is taken from, 0 up to 1; default Math.random. */
  readonly random?: () => number;
}

/** More causes than this are not looked into: the first ones are enough to begin with. */
const MOST_CAUSES = 5;
/** How often a flow is made again where chance chooses its way, so that it comes by the broken one: 1 - (2/3)^12 = 0.99. */
const TRIES = 12;
/** Source ports below those that Linux gives out (32768 and up) and below NodePorts (30000 and up). */
const FIRST_PORT = 20_000;
const PORTS = 9_000;
/** A probe's start by way of kubectl, a SYN and its retransmission. */
const WATCH_SECONDS = 2.6;
const MOST_PACKETS = 3_000;

/**
 * Makes the connections of red cells once more, from fixed source ports, while every machine is watched; attaches to each
 * of them what was seen and the first hop that differs from its chain. One cell per cause, for the first few causes, all
 * at the same time: it takes one watch, whatever their number. Throws Interrupted on abort.
 */
export async function investigate(options: InvestigateOptions): Promise<readonly CellResult[]> {
  const { results, state, machines, probeSources, signal, save } = options;
  const chosen = choose(results);
  if (chosen.length === 0) return results;
  const suspects = assignPorts(state, chosen, options.random ?? Math.random);
  const watches = [...machines].map(([name, executor]) => ({
    name,
    watch: startWatch(executor, jobFor(name, state, suspects), signal),
  }));
  await Promise.race([
    Promise.all(watches.map(({ watch }) => watch.listening)),
    Promise.all(watches.map(({ watch }) => watch.ended)),
  ]);
  const [{ cells: observed }, seen] = await Promise.all([
    runCells(
      suspects.flatMap((suspect) => suspect.attempts),
      probeSources,
    ),
    Promise.all(
      watches.map(async ({ name, watch }): Promise<[string, Watched]> => [name, await watch.ended]),
    ),
  ]);
  const sightings: Sightings = new Map(seen);
  const found = new Map<string, Evidence>();
  for (const suspect of suspects) {
    const evidence = explain(suspect, state, sightings, observed);
    const file = await save(
      `${fileName(suspect.result.cell.id)}.json`,
      `${JSON.stringify(record(suspect, evidence, sightings, observed), null, 2)}\n`,
    );
    found.set(suspect.result.cell.id, { ...evidence, file });
  }
  return results.map((result) => {
    const evidence = found.get(result.cell.id);
    return evidence === undefined ? result : { ...result, evidence };
  });
}

/** A red cell, with the attempts that are watched. */
interface Suspect {
  readonly result: CellResult;
  readonly protocol: PortProtocol;
  readonly attempts: readonly (CellToRun & { readonly sourcePort: number })[];
  /** The ports that its packets can be addressed to, before and after translation. */
  readonly ports: readonly number[];
}

/** The first red cell of each cause: cells that expect and saw the same over the same kind of target have one. */
function choose(results: readonly CellResult[]): readonly CellResult[] {
  const byCause = new Map<string, CellResult>();
  for (const result of results) {
    const { cell, observed, verdict } = result;
    if (verdict !== 'failed' && !endedOddly(result)) continue;
    const ends = cell.expected.chain.at(-1)?.at ?? '';
    const answer = cell.expected.servers.join();
    const key = [cell.kind, cell.protocol, cell.expected.outcome, observed?.outcome, answer, ends].join(' ');
    if (!byCause.has(key)) byCause.set(key, result);
  }
  // Where one pod or node alone can be the cause, the sentence is surer than where chance chooses among several.
  return [...byCause.values()]
    .sort((a, b) => a.cell.expected.servers.length - b.cell.expected.servers.length)
    .slice(0, MOST_CAUSES);
}

/** It ended as it had to, but not for the reason that was predicted, or a server got it all the same. */
function endedOddly({ cell, observed, verdict }: CellResult): boolean {
  return (verdict === 'harness' || verdict === 'failed') && observed?.outcome === cell.expected.outcome;
}

function assignPorts(
  state: ObservedState,
  chosen: readonly CellResult[],
  random: () => number,
): readonly Suspect[] {
  let next = FIRST_PORT + Math.floor(random() * (PORTS - MOST_CAUSES * TRIES));
  return chosen.flatMap((result) => {
    const { chance, ...cell } = result.cell;
    const { protocol } = cell;
    // Pings have no ports that a watcher could tell them by.
    if (protocol === 'icmp') return [];
    const hasChoice = cell.expected.servers.length > 1 || chance !== undefined;
    const tries = hasChoice || cell.expected.outcome !== 'ok' ? TRIES : 2;
    const attempts = Array.from({ length: tries }, (_, index) => {
      next += 1;
      return { ...cell, id: `${cell.id} #${index + 1}`, sourcePort: next };
    });
    return [{ result, protocol, attempts, ports: portsOf(state, cell) }];
  });
}

function portsOf({ services }: ObservedState, cell: Cell): readonly number[] {
  const endpoints = services.filter(({ name }) => name === cell.service).flatMap((each) => each.endpoints);
  return [...new Set([cell.port, ...endpoints.flatMap(({ ports }) => Object.values(ports))])];
}

function jobFor(machine: string, state: ObservedState, suspects: readonly Suspect[]): WatchJob {
  const ports = (wanted: PortProtocol) => [
    ...new Set(
      suspects
        .filter(({ protocol }) => protocol === wanted)
        .flatMap(({ ports: own, attempts }) => [...own, ...attempts.map(({ sourcePort }) => sourcePort)]),
    ),
  ];
  return {
    seconds: WATCH_SECONDS,
    most: MOST_PACKETS,
    ports: { tcp: ports('tcp'), udp: ports('udp') },
    rules: showCounters(),
    sets: showSets(),
    lookups: suspects.flatMap((suspect) => lookupsOf(machine, state, suspect)),
    prefixes: [...new Set(suspects.flatMap(({ result }) => addressesOf(result.cell).slice(0, 1)))],
  };
}

/** Addresses that have to be routed for a cell: its target, then a pod that may answer. */
function addressesOf({ pods, address, expected }: Cell): readonly string[] {
  const targets = pods ?? [address];
  return [...new Set([...targets.slice(0, 1), ...expected.servers.slice(0, 1)])];
}

function lookupsOf(
  machine: string,
  state: ObservedState,
  { result, protocol, attempts }: Suspect,
): readonly RouteLookup[] {
  const { cell } = result;
  const [attempt] = attempts;
  const lan = state.machines
    .get(machine)
    ?.interfaces.find(({ addresses }) =>
      addresses.some(({ scope, length }) => scope === 'global' && length < 32),
    );
  const from = sourceOf(state, cell);
  const isOrigin = cell.from === machine;
  return addressesOf(cell).map((to) => ({
    id: to,
    to,
    ...(isOrigin || from === undefined || lan === undefined ? {} : { from, in: lan.name }),
    protocol,
    port: cell.port,
    ...(attempt === undefined ? {} : { sourcePort: attempt.sourcePort }),
  }));
}

function sourceOf(state: ObservedState, cell: Cell): string | undefined {
  const pod = state.pods.find(({ name }) => `pod/${name}` === cell.from);
  if (pod !== undefined) return pod.ip;
  const interfaces = state.machines.get(cell.from)?.interfaces ?? [];
  return interfaces.flatMap(({ addresses }) => addresses).find(({ scope }) => scope === 'global')?.address;
}

function explain(
  suspect: Suspect,
  state: ObservedState,
  sightings: Sightings,
  observed: ReadonlyMap<string, Observation>,
): Evidence {
  const { result, protocol, ports } = suspect;
  const { cell } = result;
  const judged = judgeCells(suspect.attempts, observed).map((each, index) => ({
    seen: each.observed,
    sourcePort: suspect.attempts[index]?.sourcePort ?? 0,
    isRed: each.verdict === 'failed',
  }));
  const again =
    judged.find(({ isRed, seen }) => isRed && seen?.outcome === result.observed?.outcome) ??
    judged.find(({ isRed }) => isRed) ??
    (endedOddly(result) ? judged.find(({ seen }) => seen?.outcome === cell.expected.outcome) : undefined);
  const lost = judged.filter(({ isRed }) => isRed).length;
  const chance = cell.chance === undefined ? {} : { chance: { lost, tries: judged.length } };
  const broken = judged.find(({ seen }) => seen?.outcome === 'harness-error');
  if (again === undefined || again.seen === null)
    return {
      difference:
        broken?.seen?.detail == null
          ? { reason: 'not-repeated', tries: judged.length }
          : { reason: 'probe-failed', said: broken.seen.detail },
      hops: [],
      ...(broken === undefined ? chance : {}),
    };
  if (again.seen.outcome === 'dns-error' || again.seen.outcome === 'dns-nxdomain')
    return {
      difference: {
        reason: 'name-not-resolved',
        from: cell.from,
        name: cell.address,
        said: again.seen.detail ?? again.seen.outcome,
      },
      hops: [],
    };
  const pod = state.pods.find(({ name }) => `pod/${name}` === cell.from);
  const mark = {
    origin: pod?.node ?? cell.from,
    protocol,
    sourcePort: again.sourcePort,
    ports,
    nonce: again.seen.trace?.nonce ?? null,
  };
  const story = followFlow(mark, sightings);
  const evidence = evidenceOf({
    cell,
    state,
    sightings,
    ports: [...ports, again.sourcePort],
    observed: again.seen,
    story,
  });
  return { ...evidence, ...chance };
}

/** What is kept in the file: the evidence, and everything that it was drawn from. */
function record(
  { result, attempts }: Suspect,
  evidence: Evidence,
  sightings: Sightings,
  observed: ReadonlyMap<string, Observation>,
) {
  const { cell } = result;
  return {
    schemaVersion: 1,
    cell: cell.id,
    expected: cell.expected,
    observed: result.observed,
    evidence,
    attempts: attempts.map(({ id, sourcePort }) => ({ sourcePort, observed: observed.get(id) ?? null })),
    machines: Object.fromEntries(
      [...sightings].map(([name, { packets, conntrack, routes, bgp, problems }]) => [
        name,
        {
          packets: packets.filter(({ protocol }) => protocol === cell.protocol || protocol === 'icmp'),
          conntrack,
          routes,
          bgp,
          problems,
        },
      ]),
    ),
  };
}

/** A cell's id as a file name: no slash, and nothing that a shell would read otherwise. */
export function fileName(id: string): string {
  return id.replaceAll(/[^A-Za-z0-9.-]+/g, '_');
}
