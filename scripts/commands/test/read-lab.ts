import { checkBgp } from '../../bgp/checks/judge.ts';
import { type BgpObservation, observeBgp } from '../../bgp/checks/observe.ts';
import { readFlows } from '../../matrix/conntrack.ts';
import { tested } from '../../matrix/endpoints.ts';
import { type LayeredChecks, layerChecks } from '../../matrix/layers.ts';
import { announcements, clientTables, meantPlan } from '../../matrix/network.ts';
import { checkPodNetwork, checkPolicies } from '../../matrix/pod-network.ts';
import { type CountersByNode, readCounters } from '../../matrix/proof-counters.ts';
import { checkRules } from '../../matrix/rule-checks.ts';
import { checkStaleFlows } from '../../matrix/stale-flows.ts';
import { checkState } from '../../matrix/state/checks.ts';
import { movedParts } from '../../matrix/state/fingerprint.ts';
import { readState } from '../../matrix/state/read.ts';
import type { ObservedState } from '../../matrix/state/types.ts';
import { checkWorkloads } from '../../matrix/workloads.ts';
import { machinesOf } from '../../plan/types.ts';
import { detailsOf, HarnessError, Interrupted, messageOf } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { waitFor } from '../../shared/wait.ts';
import type { Deps } from '../deps.ts';
import type { OpenLab } from './open-lab.ts';

/** What a test starts from: the state, and whether sessions, routes and rules are what it calls for. */
export interface Reading {
  readonly state: ObservedState;
  readonly bgp: ReadonlyMap<string, BgpObservation>;
  /** Every rule of every node, with how many packets it had matched. */
  readonly counters: CountersByNode;
  readonly layered: LayeredChecks;
}

/**
 * How long failed checks must stay as they are before they are believed. kube-proxy 1.20 writes its rules once a second
 * at most (iptables.minSyncPeriod), and the announcer asks it every 0.4 s (bird/announcer.py), so right after a change
 * routes and rules are still about to follow.
 */
export const PATIENCE_MS = 2_000;
/** The longest that they are waited for while they change. */
const CONVERGENCE_TIMEOUT_MS = 15_000;

/** Looks at the lab; where checks fail, again until all pass or the same ones have failed for `patienceMs`. */
export async function lookWhenConverged(
  deps: Deps,
  lab: OpenLab,
  patienceMs: number,
  emit: Emit,
): Promise<Reading> {
  let seen = await look(deps, lab);
  let failing = failingText(seen);
  let since = performance.now();
  if (failing === '' || patienceMs === 0) return seen;
  const longest = Math.max(CONVERGENCE_TIMEOUT_MS, patienceMs);
  const deadline = since + longest;
  return waitFor({
    what: 'routes and rules to follow the state',
    timeoutMs: longest * 2,
    pollMs: 500,
    signal: deps.signal,
    emit,
    look: async () => {
      seen = await look(deps, lab);
      const now = failingText(seen);
      if (now !== failing) since = performance.now();
      failing = now;
      const isOver = failing === '' || performance.now() - since >= patienceMs;
      if (isOver || performance.now() > deadline) return { done: true, value: seen };
      return { done: false, why: `${failing.split('\n').length} checks fail` };
    },
  });
}

function failingText({ layered }: Reading): string {
  return layered.checks
    .filter(({ verdict }) => verdict === 'failed' || verdict === 'blocked')
    .map(({ id, seen, problem }) => JSON.stringify([id, seen, problem]))
    .join('\n');
}

async function look(deps: Deps, lab: OpenLab): Promise<Reading> {
  const { plan, machines } = lab;
  const [state, bgp, counters, flows] = await Promise.all([
    readLabState(deps, lab),
    observeBgp(plan, machines, deps.signal),
    countersOf(deps, lab),
    readFlows(nodesOf(lab), machines, { protocol: 'udp', signal: deps.signal }),
  ]);
  const layered = layerChecks(plan, [
    ...checkState(state),
    ...checkWorkloads(plan, state),
    ...checkBgp(
      meantPlan(plan, state),
      announcements(plan, state),
      new Map([...bgp, ...clientTables(plan, state)]),
    ),
    ...checkPodNetwork(plan, state),
    ...checkPolicies(state),
    ...checkRules(tested(plan, state), counters),
    ...checkStaleFlows(state, flows),
  ]);
  return { state, bgp, counters, layered };
}

/** Every rule of every node, with its counter. */
export function countersOf(deps: Deps, lab: OpenLab): Promise<CountersByNode> {
  return readCounters(lab.machines, nodesOf(lab), deps.signal);
}

const nodesOf = ({ plan }: OpenLab) => machinesOf(plan, 'control-plane', 'worker').map(({ name }) => name);

/** The state that expectations follow from. Throws HarnessError where the API server does not tell it. */
export async function readLabState(deps: Deps, lab: OpenLab): Promise<ObservedState> {
  return readState(lab.kubectl, lab.plan, lab.machines, deps.signal).catch((error: unknown) => {
    if (error instanceof Interrupted || error instanceof HarnessError) throw error;
    throw new HarnessError(`The state of the lab could not be read: ${messageOf(error)}`, {
      details: detailsOf(error),
      next: 'npx lab status',
      cause: error,
    });
  });
}

/** What expectations depend on and is not as it was any more. */
export async function movedSince(
  deps: Deps,
  lab: OpenLab,
  before: ObservedState,
): Promise<readonly string[]> {
  return movedParts(before, withoutLosses(before, await readLabState(deps, lab)));
}

// A machine that cannot be asked any more has not changed for all we know; its cells say what became of it.
function withoutLosses(before: ObservedState, after: ObservedState): ObservedState {
  const machines = [...after.machines].map(([name, machine]): [string, typeof machine] => [
    name,
    machine.problem === undefined ? machine : (before.machines.get(name) ?? machine),
  ]);
  return { ...after, machines: new Map(machines) };
}

const REST_TIMEOUT_MS = 15_000;

/** Waits until two looks show the same state. Throws HarnessError where they never do. */
export async function waitUntilAtRest(deps: Deps, lab: OpenLab): Promise<void> {
  let last = await readLabState(deps, lab);
  let moved: readonly string[] = [];
  await waitFor({
    what: 'the lab to stop changing',
    timeoutMs: REST_TIMEOUT_MS,
    pollMs: 500,
    signal: deps.signal,
    look: async () => {
      const now = await readLabState(deps, lab);
      moved = movedParts(last, now);
      last = now;
      return moved.length === 0 ? { done: true, value: undefined } : { done: false, why: moved.join('; ') };
    },
  }).catch((error: unknown) => {
    if (error instanceof Interrupted || error instanceof HarnessError) throw error;
    throw keepsMoving(moved);
  });
}

/** The end of a test of a lab that is not at rest. */
export function keepsMoving(moved: readonly string[]): HarnessError {
  return new HarnessError('The lab keeps changing while it is tested, so nothing can be said about it.', {
    details: moved,
    next: 'wait until it is at rest: npx lab kubectl get pods -A --watch',
  });
}
