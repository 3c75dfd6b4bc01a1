import type { Executor } from '../../exec/executor.ts';
import { type LabPlan, machinesOf } from '../../plan/types.ts';
import type { CniName } from '../../spec/types.ts';
import { type Answer, ask, read } from './ask.ts';
import {
  parseAsPaths as birdPaths,
  parseProtocols,
  parseRefused,
  parseRoutes,
  showProtocols,
  showRefused,
  showRoutes,
} from './bird.ts';
import {
  parseAsPaths as frrPaths,
  parseBgpRoutes,
  parseNeighbors,
  parseRib,
  type SessionState,
  showBgpRoutes,
  showNeighbors,
  showRib,
} from './frr.ts';
import { parseKernelRoutes, type RouteTable, showKernelRoutes } from './tables.ts';

/** A table of one machine, in the order in which a route gets from one to the next. */
export interface NamedTable {
  /** 'bgp', 'rib', 'fib' and 'kernel' on the router; 'bird' and 'kernel' on a node. */
  readonly name: string;
  readonly table: Answer<RouteTable>;
}

/** What one BGP speaker says about its sessions and routes. */
export interface BgpObservation {
  readonly sessions: Answer<readonly SessionState[]>;
  readonly tables: readonly NamedTable[];
}

/** Asks the router (FRR) for sessions, BGP table, RIB and kernel table in one call. */
async function observeRouter(
  executor: Executor,
  neighbors: readonly string[],
  signal?: AbortSignal,
): Promise<BgpObservation> {
  const answers = await ask(
    executor,
    { sessions: showNeighbors(neighbors), bgp: showBgpRoutes(), rib: showRib(), kernel: showKernelRoutes() },
    { signal },
  );
  const paths = read(answers.bgp, frrPaths);
  return {
    sessions: read(answers.sessions, (text) =>
      parseNeighbors(text, neighbors, paths.ok ? paths.value : undefined),
    ),
    tables: [
      { name: 'bgp', table: read(answers.bgp, parseBgpRoutes) },
      { name: 'rib', table: read(answers.rib, (text) => parseRib(text).selected) },
      { name: 'fib', table: read(answers.rib, (text) => parseRib(text).installed) },
      { name: 'kernel', table: read(answers.kernel, parseKernelRoutes) },
    ],
  };
}

/** Asks a node (BIRD) for sessions, table and kernel table in one call. */
export async function observeNode(
  executor: Executor,
  cni: CniName,
  signal?: AbortSignal,
): Promise<BgpObservation> {
  const answers = await ask(
    executor,
    {
      sessions: showProtocols(cni),
      bird: showRoutes(cni),
      refused: showRefused(cni),
      kernel: showKernelRoutes(),
    },
    { signal },
  );
  // A table that cannot be read fails its own checks.
  const refused = read(answers.refused, parseRefused);
  const asPaths = read(answers.bird, birdPaths);
  return {
    sessions: read(answers.sessions, (text) =>
      parseProtocols(text, {
        ...(refused.ok ? { refused: refused.value } : {}),
        ...(asPaths.ok ? { asPaths: asPaths.value } : {}),
      }),
    ),
    tables: [
      { name: 'bird', table: read(answers.bird, parseRoutes) },
      { name: 'kernel', table: read(answers.kernel, parseKernelRoutes) },
    ],
  };
}

/** Asks every BGP speaker of the plan at once, by machine name. Throws Interrupted on abort only. */
export async function observeBgp(
  plan: LabPlan,
  executors: ReadonlyMap<string, Executor>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, BgpObservation>> {
  const speakers = machinesOf(plan, 'router', 'control-plane', 'worker');
  const observed = await Promise.all(
    speakers.map(async ({ name, role }): Promise<[string, BgpObservation][]> => {
      const executor = executors.get(name);
      if (executor === undefined) return [];
      const observed =
        role === 'router'
          ? observeRouter(executor, neighborsOf(plan, name), signal)
          : observeNode(executor, plan.choices.cni.value, signal);
      return [[name, await observed]];
    }),
  );
  return new Map(observed.flat());
}

/** The addresses at the other ends of a machine's sessions. */
function neighborsOf({ bgp }: LabPlan, machine: string): readonly string[] {
  return bgp.peerings.flatMap(({ a, b }) =>
    a.machine === machine ? [b.address] : b.machine === machine ? [a.address] : [],
  );
}
