import type { Executor } from '../../exec/executor.ts';
import { type LabPlan, machinesOf } from '../../plan/types.ts';
import type { CniName } from '../../spec/types.ts';
import { type Answer, ask, read } from './ask.ts';
import { parseProtocols, parseRoutes, showProtocols, showRoutes } from './bird.ts';
import {
  parseBgpRoutes,
  parseBgpSummary,
  parseRib,
  type SessionState,
  showBgpRoutes,
  showBgpSummary,
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
export async function observeRouter(executor: Executor, signal?: AbortSignal): Promise<BgpObservation> {
  const answers = await ask(
    executor,
    { sessions: showBgpSummary(), bgp: showBgpRoutes(), rib: showRib(), kernel: showKernelRoutes() },
    { signal },
  );
  return {
    sessions: read(answers.sessions, parseBgpSummary),
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
    { sessions: showProtocols(cni), bird: showRoutes(cni), kernel: showKernelRoutes() },
    { signal },
  );
  return {
    sessions: read(answers.sessions, parseProtocols),
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
          ? observeRouter(executor, signal)
          : observeNode(executor, plan.choices.cni.value, signal);
      return [[name, await observed]];
    }),
  );
  return new Map(observed.flat());
}
