import type { Check } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import { machinesOf } from '../plan/types.ts';
import { type World, worldOf } from './expect/world.ts';
import type { ObservedState } from './state/types.ts';
import { type Cell, isTried, type Observation } from './types.ts';

/** How likely it may be that a next hop that is used is not seen to be used. */
export const MISS_PROBABILITY = 1e-6;

/** Many connections to one external address, and what must become of them. */
export interface EcmpPlan {
  readonly from: string;
  /** The target as cells name it: SERVICE/ADDRESS. */
  readonly target: string;
  /** The machine whose kernel chooses among next hops. */
  readonly chooser: string;
  /** That kernel's fib_multipath_hash_policy. */
  readonly policy: number;
  /** The machines behind the next hops. */
  readonly nodes: readonly string[];
  /** Addresses of the pods that may answer. */
  readonly servers: readonly string[];
  /** The connections, each from a port of its own. Empty where nothing can be said. */
  readonly flows: readonly Cell[];
  /** Why nothing can be said. */
  readonly skipped?: string;
}

/** Where the connections of one EcmpPlan came out. */
export interface EcmpResult {
  readonly from: string;
  readonly target: string;
  readonly flows: number;
  readonly counts: readonly { readonly node: string; readonly pod: string; readonly count: number }[];
  readonly verdict: 'passed' | 'failed' | 'skipped';
  readonly why: string;
}

/**
 * How many connections it takes so that one of `nextHops` equally likely next hops is missed with at most this
 * probability: n(1-1/n)^k, the first term of inclusion and exclusion and an upper bound of it.
 */
export function flowsFor(nextHops: number, missProbability = MISS_PROBABILITY): number {
  if (nextHops <= 1) return 1;
  return Math.ceil(Math.log(nextHops / missProbability) / -Math.log(1 - 1 / nextHops));
}

/**
 * The connections that show how the kernels spread traffic: from the router and from every client whose cell to an
 * external address must work, as many as the next hops need.
 */
export function planEcmp(plan: LabPlan, state: ObservedState, cells: readonly Cell[]): readonly EcmpPlan[] {
  const world = worldOf(state);
  const outside = new Set(machinesOf(plan, 'router', 'client').map(({ name }) => name));
  return cells
    .filter(
      (cell) =>
        cell.kind === 'external-ip' &&
        outside.has(cell.from) &&
        cell.expected.outcome === 'ok' &&
        cell.controlOf === undefined &&
        isTried(cell),
    )
    .map((cell) => planOf(world, cell));
}

function planOf(world: World, cell: Cell): EcmpPlan {
  const { from, to, port, protocol } = cell;
  const { chooser, nodes, choices } = spread(world, from, cell.address);
  const policy = world.machine(chooser)?.state.hashPolicy ?? 0;
  const skipped =
    choices > 1
      ? `More than one machine on the way from ${from} chooses among next hops, which is not modelled`
      : policy > 1
        ? `fib_multipath_hash_policy ${policy} of ${chooser} is not modelled, only 0 and 1`
        : undefined;
  const count = skipped === undefined ? flowsFor(nodes.length) : 0;
  return {
    from,
    target: `${to}:${port}/${protocol}`,
    chooser,
    policy,
    nodes,
    servers: cell.expected.servers,
    flows: Array.from({ length: count }, (_, index) => ({ ...cell, id: `${cell.id}#${index + 1}` })),
    ...(skipped === undefined ? {} : { skipped }),
  };
}

interface Spread {
  readonly chooser: string;
  readonly nodes: readonly string[];
  /** How many machines on the way have a choice. */
  readonly choices: number;
}

/** Follows the routes from a machine until they reach nodes. */
function spread(world: World, from: string, address: string): Spread {
  let at = from;
  let found: Spread | undefined;
  const passed = new Set<string>();
  while (!passed.has(at)) {
    passed.add(at);
    const looked = world.machine(at)?.lookup(address);
    if (looked?.kind !== 'route') break;
    const next = looked.route.hops.flatMap(({ gateway }) => world.ownerOf(gateway ?? address) ?? []);
    const [only] = next;
    if (only === undefined) break;
    const choices = (found?.choices ?? 0) + (next.length > 1 ? 1 : 0);
    if (next.length > 1 || found === undefined || found.nodes.length === 1)
      found = { chooser: at, nodes: [...next].sort(), choices };
    if (next.some((name) => world.machine(name)?.node !== undefined)) break;
    at = only;
  }
  return found ?? { chooser: from, nodes: [], choices: 0 };
}

/** Compares where the connections came out with what the choosing kernel's policy says. */
export function judgeEcmp(
  plan: EcmpPlan,
  state: ObservedState,
  seen: ReadonlyMap<string, Observation>,
): EcmpResult {
  const { from, target, flows, skipped } = plan;
  if (skipped !== undefined)
    return { from, target, flows: 0, counts: [], verdict: 'skipped', why: sentence(skipped) };
  const observations = flows.map(({ id }) => seen.get(id));
  const unknown = observations.find((observed) => observed?.outcome === 'harness-error');
  if (unknown !== undefined || observations.includes(undefined))
    return {
      from,
      target,
      flows: flows.length,
      counts: [],
      verdict: 'skipped',
      why: sentence(`It could not be tried: ${unknown?.detail ?? 'no result'}`),
    };
  const counts = histogram(worldOf(state), observations);
  const wrong = faultOf(plan, observations, counts);
  return {
    from,
    target,
    flows: flows.length,
    counts,
    verdict: wrong === undefined ? 'passed' : 'failed',
    why: sentence(wrong ?? ruleOf(plan)),
  };
}

type Counts = EcmpResult['counts'];

function histogram(world: World, observations: readonly (Observation | undefined)[]): Counts {
  const counts = new Map<string, { node: string; pod: string; count: number }>();
  for (const observed of observations) {
    if (observed?.outcome !== 'ok' || observed.server === null) continue;
    const { server, client } = observed;
    const pod = world.podsAt(server)[0]?.name ?? server;
    // A node that masquerades shows itself; one that does not has the pod.
    const masquerader = client === null ? undefined : world.ownerOf(client);
    const isNode = masquerader !== undefined && world.machine(masquerader)?.node !== undefined;
    const node = (isNode ? masquerader : world.nodeOf(server)) ?? 'unknown';
    const key = `${node} ${pod}`;
    counts.set(key, { node, pod, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()].sort((a, b) => a.node.localeCompare(b.node) || a.pod.localeCompare(b.pod));
}

function faultOf(
  { chooser, policy, nodes, servers, flows, from }: EcmpPlan,
  observations: readonly (Observation | undefined)[],
  counts: Counts,
): string | undefined {
  const lost = observations.filter((observed) => observed?.outcome !== 'ok');
  if (lost.length > 0) {
    const [first] = lost;
    const how = first === undefined ? 'not tried' : `${first.outcome}${detailOf(first)}`;
    return `${lost.length} of ${flows.length} connections from ${from} got no answer (${how})`;
  }
  const stranger = observations.find((observed) => !servers.includes(observed?.server ?? ''));
  if (stranger !== undefined)
    return `${stranger.server ?? 'nobody'} answered, which is none of ${servers.join(', ')}`;
  const reached = [...new Set(counts.map(({ node }) => node))];
  const elsewhere = reached.filter((node) => !nodes.includes(node));
  if (elsewhere.length > 0)
    return `${elsewhere.join(', ')} answered, but ${chooser} has only ${nodes.join(', ')} as next hops`;
  if (policy === 0)
    return reached.length === 1
      ? undefined
      : `fib_multipath_hash_policy of ${chooser} is 0, so one client's connections must all take one next hop, but they took ${reached.join(', ')}`;
  const missed = nodes.filter((node) => !reached.includes(node));
  return missed.length === 0
    ? undefined
    : `${missed.join(', ')} got none of ${flows.length} connections, though ${chooser} has ${nodes.length} next hops and spreads by addresses and ports`;
}

function detailOf({ detail }: Observation): string {
  return detail === null ? '' : `: ${detail}`;
}

function ruleOf({ chooser, policy, nodes, flows }: EcmpPlan): string {
  if (nodes.length <= 1) return `${chooser} has one next hop, so there is nothing to choose`;
  return policy === 0
    ? `${chooser} chooses among ${nodes.length} next hops by addresses alone (fib_multipath_hash_policy 0), so all connections of one client take one of them`
    : `${chooser} chooses among ${nodes.length} next hops by addresses and ports (fib_multipath_hash_policy 1), so connections reach all of them; ${flows.length} connections would miss one with a probability of at most ${MISS_PROBABILITY}`;
}

function sentence(text: string): string {
  return `${text}.`;
}

/** The results as checks, and whether each router is set to spread one client's connections at all. */
export function ecmpChecks(
  plan: LabPlan,
  state: ObservedState,
  plans: readonly EcmpPlan[],
  results: readonly EcmpResult[],
): readonly Check[] {
  return [
    ...machinesOf(plan, 'router').flatMap(({ name }) => policyCheck(name, state)),
    ...plans.flatMap((each, index) => {
      const result = results[index];
      return result === undefined ? [] : [spreadCheck(each, result)];
    }),
  ];
}

function policyCheck(router: string, state: ObservedState): readonly Check[] {
  const machine = state.machines.get(router);
  // What could not be read is told by the check of the state.
  if (machine === undefined || machine.problem !== undefined) return [];
  const describe = (policy: number) => `${policy} (${POLICIES[policy] ?? 'something else'})`;
  return [
    {
      id: `ecmp.policy.${router}`,
      title: `${router} spreads the connections of one client`,
      verdict: machine.hashPolicy === 1 ? 'passed' : 'failed',
      expected: `net.ipv4.fib_multipath_hash_policy ${describe(1)}`,
      observed: `net.ipv4.fib_multipath_hash_policy ${describe(machine.hashPolicy)}`,
      why: 'With policy 0 all connections of one client go to one worker, however many there are.',
    },
  ];
}

const POLICIES = ['by addresses', 'by addresses and ports'];

function spreadCheck(ecmp: EcmpPlan, result: EcmpResult): Check {
  const { from, target, nodes, policy } = ecmp;
  const isUnknown = result.verdict === 'skipped' && ecmp.skipped === undefined;
  const among = nodes.join(', ') || 'nobody';
  const perNode = new Map<string, number>();
  for (const { node, count } of result.counts) perNode.set(node, (perNode.get(node) ?? 0) + count);
  return {
    id: `ecmp.spread.${from}>${target}`,
    title: `${from} to ${target}: ${result.flows} connections`,
    verdict: isUnknown ? 'harness' : result.verdict,
    expected: policy === 0 && nodes.length > 1 ? `all on one of ${among}` : `all of ${among}`,
    observed:
      [...perNode].map(([node, count]) => `${node} ${count}`).join(', ') ||
      (isUnknown ? 'it could not be tried' : 'no answer'),
    why: result.why,
  };
}
