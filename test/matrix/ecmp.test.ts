import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import {
  checkHashPolicies,
  type EcmpPlan,
  flowsFor,
  judgeEcmp,
  MISS_PROBABILITY,
  planEcmp,
  wrongOnce,
} from '../../scripts/matrix/ecmp.ts';
import { notObserved } from '../../scripts/matrix/run.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import type { Observation } from '../../scripts/matrix/types.ts';
import { endpointsOf, POD_IPS, planOf, rightly } from './fixtures.ts';

const PLAN = planOf();
const HEALTHY = endpointsOf();
const WORKERS = ['k8sworker1', 'k8sworker2', 'k8sworker3'];

function withMachine(
  state: ObservedState,
  name: string,
  change: Partial<ReturnType<ObservedState['machines']['get']>>,
) {
  const machines = new Map(state.machines);
  const machine = machines.get(name);
  if (machine !== undefined) machines.set(name, { ...machine, ...change });
  return { ...state, machines };
}

function planned(state: ObservedState = HEALTHY): readonly EcmpPlan[] {
  return planEcmp(PLAN, state, buildCells(PLAN, state));
}

/** What is seen where the n-th connection goes to the pod of the n-th index, the client's address kept. */
function seenAt(plan: EcmpPlan, pods: (index: number) => number, change: Partial<Observation> = {}) {
  return new Map(
    plan.flows.map((flow, index) => [
      flow.id,
      rightly(flow, { server: POD_IPS[pods(index)] ?? null, client: '192.168.13.40', ...change }),
    ]),
  );
}

function one(plans: readonly EcmpPlan[], from = 'routed'): EcmpPlan {
  const found = plans.find((each) => each.from === from);
  if (found === undefined) throw new Error(`no plan from ${from}`);
  return found;
}

const equal = (count: number) => Array.from({ length: count }, () => 1);

describe('how many connections it takes', () => {
  it.each([
    [1, 1],
    [2, 21],
    [3, 37],
    [4, 53],
    [20, 328],
  ])('for %i next hops: %i', (nextHops, flows) => {
    expect(flowsFor(equal(nextHops))).toBe(flows);
  });

  it('are more where one of them is rare', () => {
    expect(flowsFor([1, 3])).toBe(51);
    expect(flowsFor([2, 2])).toBe(flowsFor([1, 1]));
  });

  it('keeps the stated error rate: exactly, by inclusion and exclusion', () => {
    for (let n = 2; n <= 20; n++) {
      const missed = (flows: number) => {
        let sum = 0;
        let ways = 1;
        for (let j = 1; j < n; j++) {
          ways = (ways * (n - j + 1)) / j;
          sum += (j % 2 === 1 ? 1 : -1) * ways * (1 - j / n) ** flows;
        }
        return sum;
      };
      expect(missed(flowsFor(equal(n)))).toBeLessThanOrEqual(MISS_PROBABILITY);
      expect(missed(flowsFor(equal(n)) - 2)).toBeGreaterThan(MISS_PROBABILITY * 0.9);
    }
  });
});

describe('what is planned', () => {
  it('is one target per routed source, chosen for by the router', () => {
    expect(
      planned().map(({ from, target, chooser, policy, nodes, flows }) => [
        from,
        target,
        chooser,
        policy,
        nodes,
        flows.length,
      ]),
    ).toEqual([
      ['bgp', 'echo-lb-tcp/2.2.2.2:1234/tcp', 'bgp', 1, WORKERS, 37],
      ['routed', 'echo-lb-tcp/2.2.2.2:1234/tcp', 'bgp', 1, WORKERS, 37],
    ]);
  });

  it('follows the kernel: two ready pods are two next hops', () => {
    const state = endpointsOf({ ready: ['echo-server1', 'echo-server3', 'echo-client1'] });
    expect(planned(state).map(({ nodes, flows }) => [nodes, flows.length])).toEqual(
      Array(2).fill([['k8sworker1', 'k8sworker3'], 21]),
    );
  });

  it('follows the weights of next hops, up to a thousand connections', () => {
    const weighted = (weight: number) => {
      const routes = (HEALTHY.machines.get('bgp')?.routes ?? []).map((route) => ({
        ...route,
        hops: route.hops.map((hop, index) => (index === 0 ? { ...hop, weight } : hop)),
      }));
      return one(planned(withMachine(HEALTHY, 'bgp', { routes })));
    };
    expect(weighted(1).flows).toHaveLength(37);
    expect(weighted(2).flows).toHaveLength(52);
    expect(weighted(255)).toMatchObject({ flows: [], skipped: 'rare-next-hop' });
  });

  it('has every connection under an id of its own', () => {
    const ids = planned().flatMap(({ flows }) => flows.map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('leaves out cells that are controls only', () => {
    const cells = buildCells(PLAN, HEALTHY).map((cell) =>
      cell.from === 'bgp' ? { ...cell, controlOf: ['bgp>something'] } : cell,
    );
    expect(planEcmp(PLAN, HEALTHY, cells).map(({ from }) => from)).toEqual(['routed']);
  });

  it('leaves out cells that were not chosen', () => {
    const cells = buildCells(PLAN, HEALTHY).filter(({ from }) => from === 'bgp');
    expect(planEcmp(PLAN, HEALTHY, cells).map(({ from }) => from)).toEqual(['bgp']);
    expect(planEcmp(PLAN, HEALTHY, [])).toEqual([]);
  });

  it('says nothing about a policy that is not modelled', () => {
    const plan = one(planned(withMachine(HEALTHY, 'bgp', { hashPolicy: 2 })));
    expect(plan.flows).toEqual([]);
    expect(judgeEcmp(plan, HEALTHY, new Map())).toMatchObject({
      verdict: 'skipped',
      reason: 'policy-not-modelled',
    });
  });
});

describe('the verdict', () => {
  const plan = one(planned());

  it('is passed where every next hop was reached, with the histogram', () => {
    const result = judgeEcmp(
      plan,
      HEALTHY,
      seenAt(plan, (index) => index % 3),
    );
    expect(result).toMatchObject({
      id: 'ecmp.spread.routed>echo-lb-tcp/2.2.2.2:1234/tcp',
      verdict: 'passed',
      wanted: { chooser: 'bgp', policy: 1, nodes: WORKERS },
      seen: { flows: 37, lost: 0 },
    });
    expect(result.seen?.counts).toEqual([
      { node: 'k8sworker1', pod: 'echo-server1', count: 13 },
      { node: 'k8sworker2', pod: 'echo-server2', count: 12 },
      { node: 'k8sworker3', pod: 'echo-server3', count: 12 },
    ]);
  });

  it.each([
    ['a next hop is missed', seenAt(plan, (index) => index % 2), 'missed-node'],
    [
      'a connection is lost',
      new Map(
        [...seenAt(plan, (index) => index % 3)].map(([id, seen], index) => [
          id,
          index === 5 ? { ...seen, outcome: 'timeout' as const, server: null } : seen,
        ]),
      ),
      'unanswered',
    ],
    ['a stranger answers', seenAt(plan, (index) => index % 3, { server: '10.255.0.99' }), 'wrong-server'],
  ] as const)('is failed where %s', (_, seen, reason) => {
    expect(judgeEcmp(plan, HEALTHY, seen)).toMatchObject({ verdict: 'failed', reason });
  });

  it('is passed where a single lost connection is answered at the second try, and failed where it is not', () => {
    const all = seenAt(plan, (index) => index % 3);
    const losing = (...which: readonly number[]) =>
      new Map(
        [...all].map(([id, seen], index) => [
          id,
          which.includes(index) ? { ...seen, outcome: 'timeout' as const, server: null } : seen,
        ]),
      );
    const [retried, ...others] = wrongOnce([plan], losing(5));
    expect(others).toEqual([]);
    expect(wrongOnce([plan], losing(5, 6))).toEqual([]);
    expect(wrongOnce([plan], all)).toEqual([]);
    const answer = all.get(plan.flows[5]?.id ?? '');
    if (retried === undefined || answer === undefined) throw new Error('no connection');
    const found = judgeEcmp(plan, HEALTHY, losing(5), new Map([[retried.id, answer]]));
    expect(found).toMatchObject({ verdict: 'passed', seen: { lost: 0, again: 1 } });
    const silent = { ...answer, outcome: 'timeout' as const, server: null };
    expect(judgeEcmp(plan, HEALTHY, losing(5), new Map([[retried.id, silent]]))).toMatchObject({
      verdict: 'failed',
      reason: 'unanswered',
    });
  });

  it('makes a connection again that another pod answered, once', () => {
    const all = seenAt(plan, (index) => index % 3);
    const answeredBy = (server: string, ...which: number[]) =>
      new Map([...all].map(([id, each], index) => [id, which.includes(index) ? { ...each, server } : each]));
    const [retried] = wrongOnce([plan], answeredBy('10.255.9.9', 5));
    const answer = all.get(plan.flows[5]?.id ?? '');
    if (retried === undefined || answer === undefined) throw new Error('no connection');
    const judge = (second: Observation) =>
      judgeEcmp(plan, HEALTHY, answeredBy('10.255.9.9', 5), new Map([[retried.id, second]]));
    expect(judge(answer)).toMatchObject({ verdict: 'passed', seen: { again: 1 } });
    expect(judge({ ...answer, server: '10.255.9.9' })).toMatchObject({ reason: 'wrong-server' });
    expect(wrongOnce([plan], answeredBy('10.255.9.9', 5, 6))).toEqual([]);
  });

  it('is failed where a node answers that is no next hop', () => {
    const fewer = { ...plan, nodes: ['k8sworker1', 'k8sworker2'] };
    expect(
      judgeEcmp(
        fewer,
        HEALTHY,
        seenAt(plan, (index) => index % 3),
      ),
    ).toMatchObject({
      verdict: 'failed',
      reason: 'wrong-node',
    });
  });

  it('is about the node that masquerades, where one does', () => {
    const seen = seenAt(plan, () => 2, { client: '192.168.13.35' });
    expect(judgeEcmp(plan, HEALTHY, seen).seen?.counts).toEqual([
      { node: 'k8sworker1', pod: 'echo-server3', count: 37 },
    ]);
  });

  it('with policy 0 demands that one client takes one next hop, and no more', () => {
    const state = withMachine(HEALTHY, 'bgp', { hashPolicy: 0 });
    const byAddress = one(planned(state));
    expect(byAddress.policy).toBe(0);
    expect(
      judgeEcmp(
        byAddress,
        state,
        seenAt(byAddress, () => 1),
      ),
    ).toMatchObject({ verdict: 'passed' });
    expect(
      judgeEcmp(
        byAddress,
        state,
        seenAt(byAddress, (index) => index % 2),
      ),
    ).toMatchObject({
      verdict: 'failed',
      reason: 'several-nodes',
    });
  });

  it('is not failed where the probe could not be run: nothing is known then', () => {
    const seen = new Map(plan.flows.map(({ id }) => [id, notObserved('connection lost')]));
    expect(judgeEcmp(plan, HEALTHY, seen)).toMatchObject({ verdict: 'harness', problem: 'connection lost' });
  });
});

describe('the hash policy', () => {
  it('has to spread the connections of one client', () => {
    expect(checkHashPolicies(PLAN, HEALTHY)).toMatchObject([{ id: 'ecmp.policy.bgp', verdict: 'passed' }]);
    expect(checkHashPolicies(PLAN, withMachine(HEALTHY, 'bgp', { hashPolicy: 0 }))).toMatchObject([
      { verdict: 'failed', reason: 'other-policy', seen: { policy: 0 } },
    ]);
  });

  it('is not known of a router that could not be looked at', () => {
    expect(checkHashPolicies(PLAN, withMachine(HEALTHY, 'bgp', { problem: 'no connection' }))).toEqual([]);
  });
});
