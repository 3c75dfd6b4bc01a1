import { type Check, type CheckOf, makeCheck, unseenCheck } from '../bgp/checks/check.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import { flowSources } from './cells.ts';
import { networkOf } from './expect/network-state.ts';
import type { NetworkState, Trace } from './expect/types.ts';
import { walk } from './expect/walk.ts';
import { notObserved } from './run.ts';
import type { ObservedState } from './state/types.ts';
import { type Cell, type FlowSource, isTried, type Observation } from './types.ts';

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
  readonly skipped?: 'several-choosers' | 'policy-not-modelled' | 'rare-next-hop';
}

/** Next hops that it takes more connections than this to see are not looked for. */
const MOST_FLOWS = 1_000;

/**
 * How many connections it takes so that one of several next hops is missed with at most this probability, by their weights:
 * n(1-s)^k, where s is the smallest share; for equal ones the first term of inclusion and exclusion. An upper bound.
 */
export function flowsFor(weights: readonly number[], missProbability = MISS_PROBABILITY): number {
  const count = weights.length;
  if (count <= 1) return 1;
  const share = Math.min(...weights) / weights.reduce((sum, weight) => sum + weight, 0);
  return Math.ceil(Math.log(count / missProbability) / -Math.log(1 - share));
}

/**
 * The connections that show how the kernels spread traffic: from the router and from every client whose cell to an
 * external address must work, as many as the next hops need.
 */
export function planEcmp(plan: LabPlan, state: ObservedState, cells: readonly Cell[]): readonly EcmpPlan[] {
  const network = networkOf(state);
  const outside = new Map(
    flowSources(plan, state)
      .filter(({ kind }) => kind === 'router' || kind === 'client')
      .map((source) => [source.name, source]),
  );
  return cells.flatMap((cell) => {
    const { kind, expected, controlOf } = cell;
    const from = outside.get(cell.from);
    if (from === undefined || kind !== 'external-ip' || controlOf !== undefined) return [];
    return expected.outcome === 'ok' && isTried(cell) ? [planOf(network, from, cell)] : [];
  });
}

function planOf(network: NetworkState, from: FlowSource, cell: Cell): EcmpPlan {
  const { to, port, protocol } = cell;
  const { chooser, policy, nodes, weights, choices } = choiceOf(walk(network, from, cell));
  const needed = flowsFor(weights);
  const skipped =
    choices > 1
      ? 'several-choosers'
      : policy > 1
        ? 'policy-not-modelled'
        : needed > MOST_FLOWS
          ? 'rare-next-hop'
          : undefined;
  const count = skipped === undefined ? needed : 0;
  return {
    from: cell.from,
    target: `${to}:${port}/${protocol}`,
    chooser,
    policy,
    nodes,
    servers: cell.expected.servers,
    flows: Array.from({ length: count }, (_, index) => ({ ...cell, id: `${cell.id}#${index + 1}` })),
    ...(skipped === undefined ? {} : { skipped }),
  };
}

interface Choice extends Pick<EcmpPlan, 'chooser' | 'policy' | 'nodes'> {
  /** Of the next hops that are machines. */
  readonly weights: readonly number[];
  /** How many machines on the path have a choice. */
  readonly choices: number;
}

/** The machine on a connection's path that chooses among next hops, or else the last that sends it on by a route. */
function choiceOf({ at, decision, next }: Trace, before?: Choice): Choice {
  if (decision.kind !== 'route')
    return before ?? { chooser: at, policy: 0, nodes: [], weights: [], choices: 0 };
  const { hops, hashPolicy, route } = decision;
  const nodes = hops.flatMap((hop) => (hop.kind === 'machine' ? hop.machine : [])).sort();
  const weights = hops.flatMap(({ kind }, index) =>
    kind === 'machine' ? (route.hops[index]?.weight ?? 1) : [],
  );
  const choices = (before?.choices ?? 0) + (nodes.length > 1 ? 1 : 0);
  const here =
    before === undefined || before.nodes.length === 1 || nodes.length > 1
      ? { chooser: at, policy: hashPolicy, nodes, weights, choices }
      : before;
  const [rest] = next;
  return rest === undefined ? here : choiceOf(rest, here);
}

type Spread = CheckOf<'spread'>;
type Seen = NonNullable<Spread['seen']>;

const againId = (id: string) => `${id}/again`;

/**
 * The connections to be made again: that of each plan in which a single one went wrong, lost or answered by another server
 * (a pod that is ending, where a node's rules follow a moment later than the others'). A next hop or pod that is wrong
 * takes more of them, or this one again.
 */
export function wrongOnce(
  plans: readonly EcmpPlan[],
  seen: ReadonlyMap<string, Observation>,
): readonly Cell[] {
  return plans.flatMap(({ flows, servers }) => {
    const wrong = flows.filter(({ id }) => {
      const { outcome, server } = seen.get(id) ?? notObserved('no result');
      if (outcome === 'harness-error') return false;
      return outcome !== 'ok' || (server !== null && !servers.includes(server));
    });
    return wrong.length === 1 ? wrong.map((cell) => ({ ...cell, id: againId(cell.id) })) : [];
  });
}

/** Compares where the connections came out, at the first try or the second, with what the choosing kernel's policy says. */
export function judgeEcmp(
  plan: EcmpPlan,
  state: ObservedState,
  seen: ReadonlyMap<string, Observation>,
  again: ReadonlyMap<string, Observation> = new Map(),
): Spread {
  const { from, target, flows, skipped, chooser, policy, nodes, servers } = plan;
  const subject = { from, target };
  const wanted = { chooser, policy, nodes, servers };
  if (skipped !== undefined)
    return makeCheck('spread', subject, { verdict: 'skipped', reason: skipped, wanted });
  const answeredAgain = flows.filter(({ id }) => again.get(againId(id))?.outcome === 'ok').length;
  const observations = flows.map(({ id }) => {
    const second = again.get(againId(id));
    return second?.outcome === 'ok' ? second : (seen.get(id) ?? notObserved('no result'));
  });
  const unknown = observations.find(({ outcome }) => outcome === 'harness-error');
  if (unknown !== undefined)
    return unseenCheck('spread', subject, wanted, {
      fault: 'harness',
      detail: unknown.detail ?? 'no result',
    });
  const lost = observations.filter(({ outcome }) => outcome !== 'ok');
  const [first] = lost;
  const stranger = observations.find(({ server }) => server !== null && !servers.includes(server))?.server;
  const spread = {
    flows: flows.length,
    counts: histogram(networkOf(state), observations),
    lost: lost.length,
    ...(answeredAgain === 0 ? {} : { again: answeredAgain }),
    ...(first === undefined
      ? {}
      : { firstLost: [first.outcome, ...(first.detail === null ? [] : [first.detail])].join(': ') }),
    ...(stranger == null ? {} : { stranger }),
  };
  const reason = reasonOf(plan, spread);
  return makeCheck('spread', subject, {
    reason,
    wanted,
    seen: spread,
  });
}

function histogram(network: NetworkState, observations: readonly Observation[]): Seen['counts'] {
  const counts = new Map<string, { node: string; pod: string; count: number }>();
  for (const { outcome, server, client } of observations) {
    if (outcome !== 'ok' || server === null) continue;
    const pod = network.podsAt(server)[0]?.name ?? server;
    // A node that masquerades shows itself; one that does not has the pod.
    const masquerader = client === null ? undefined : network.ownerOf(client);
    const isNode = masquerader !== undefined && network.machine(masquerader)?.node !== undefined;
    const node = (isNode ? masquerader : (network.nodeOf(server) ?? network.ownerOf(server))) ?? 'unknown';
    const key = `${node} ${pod}`;
    counts.set(key, { node, pod, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()].sort((a, b) => a.node.localeCompare(b.node) || a.pod.localeCompare(b.pod));
}

function reasonOf({ policy, nodes }: EcmpPlan, { lost, stranger, counts }: Seen): Spread['reason'] {
  if (lost > 0) return 'unanswered';
  if (stranger !== undefined) return 'wrong-server';
  const reached = new Set(counts.map(({ node }) => node));
  if ([...reached].some((node) => !nodes.includes(node))) return 'wrong-node';
  if (policy === 0) return reached.size === 1 ? 'as-wanted' : 'several-nodes';
  return nodes.every((node) => reached.has(node)) ? 'as-wanted' : 'missed-node';
}

/** Whether each router is set to spread one client's connections at all. */
export function checkHashPolicies(plan: LabPlan, state: ObservedState): readonly Check[] {
  return machinesOf(plan, 'router').flatMap(({ name }): readonly Check[] => {
    const machine = state.machines.get(name);
    // What could not be read is told by the check of the state.
    if (machine === undefined || machine.problem !== undefined) return [];
    const policy = machine.hashPolicy;
    return [
      makeCheck(
        'hash-policy',
        { machine: name },
        {
          reason: policy === 1 ? 'as-wanted' : 'other-policy',
          wanted: { policy: 1 },
          seen: { policy },
        },
      ),
    ];
  });
}
