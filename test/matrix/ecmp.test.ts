import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import {
  type EcmpPlan,
  ecmpChecks,
  flowsFor,
  judgeEcmp,
  MISS_PROBABILITY,
  planEcmp,
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

describe('how many connections it takes', () => {
  it.each([
    [1, 1],
    [2, 21],
    [3, 37],
    [4, 53],
    [20, 328],
  ])('for %i next hops: %i', (nextHops, flows) => {
    expect(flowsFor(nextHops)).toBe(flows);
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
      expect(missed(flowsFor(n))).toBeLessThanOrEqual(MISS_PROBABILITY);
      expect(missed(flowsFor(n) - 2)).toBeGreaterThan(MISS_PROBABILITY * 0.9);
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
    expect([plan.flows.length, plan.skipped]).toEqual([0, expect.stringContaining('policy 2 of bgp')]);
    expect(judgeEcmp(plan, HEALTHY, new Map()).verdict).toBe('skipped');
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
    expect(result).toMatchObject({ from: 'routed', flows: 37, verdict: 'passed' });
    expect(result.counts).toEqual([
      { node: 'k8sworker1', pod: 'echo-server1', count: 13 },
      { node: 'k8sworker2', pod: 'echo-server2', count: 12 },
      { node: 'k8sworker3', pod: 'echo-server3', count: 12 },
    ]);
    expect(result.why).toMatch(/^bgp chooses among 3 next hops by addresses and ports/);
  });

  it.each([
    ['a next hop is missed', seenAt(plan, (index) => index % 2), /^k8sworker3 got none of 37 connections/],
    [
      'a connection is lost',
      new Map(
        [...seenAt(plan, (index) => index % 3)].map(([id, seen], index) => [
          id,
          index === 5 ? { ...seen, outcome: 'timeout' as const, server: null } : seen,
        ]),
      ),
      /^1 of 37 connections from routed got no answer \(timeout\)/,
    ],
    [
      'a stranger answers',
      seenAt(plan, (index) => index % 3, { server: '10.255.0.99' }),
      /^10\.255\.0\.99 answered, which is none of/,
    ],
  ])('is failed where %s', (_, seen, why) => {
    expect(judgeEcmp(plan, HEALTHY, seen)).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(why),
    });
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
      why: expect.stringMatching(
        /^k8sworker3 answered, but bgp has only k8sworker1, k8sworker2 as next hops/,
      ),
    });
  });

  it('is about the node that masquerades, where one does', () => {
    const seen = seenAt(plan, () => 2, { client: '192.168.13.35' });
    expect(judgeEcmp(plan, HEALTHY, seen).counts).toEqual([
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
      why: expect.stringMatching(/must all take one next hop, but they took k8sworker1, k8sworker2/),
    });
  });

  it('is not failed where the probe could not be run: nothing is known then', () => {
    const seen = new Map(plan.flows.map(({ id }) => [id, notObserved('connection lost')]));
    const result = judgeEcmp(plan, HEALTHY, seen);
    expect(result.verdict).toBe('skipped');
    const [, check] = ecmpChecks(PLAN, HEALTHY, [plan], [result]);
    expect(check).toMatchObject({ verdict: 'harness', observed: 'it could not be tried' });
  });
});

describe('the checks', () => {
  it('want the router to spread the connections of one client', () => {
    expect(ecmpChecks(PLAN, HEALTHY, [], [])).toMatchObject([{ id: 'ecmp.policy.bgp', verdict: 'passed' }]);
    const [check] = ecmpChecks(PLAN, withMachine(HEALTHY, 'bgp', { hashPolicy: 0 }), [], []);
    expect(check).toMatchObject({
      verdict: 'failed',
      observed: 'net.ipv4.fib_multipath_hash_policy 0 (by addresses)',
    });
  });

  it('say nothing about a router that could not be looked at', () => {
    expect(ecmpChecks(PLAN, withMachine(HEALTHY, 'bgp', { problem: 'no connection' }), [], [])).toEqual([]);
  });

  it('name nodes and counts', () => {
    const plan = one(planned());
    const result = judgeEcmp(
      plan,
      HEALTHY,
      seenAt(plan, (index) => index % 3),
    );
    expect(ecmpChecks(PLAN, HEALTHY, [plan], [result])[1]).toMatchObject({
      id: 'ecmp.spread.routed>echo-lb-tcp/2.2.2.2:1234/tcp',
      verdict: 'passed',
      expected: 'all of k8sworker1, k8sworker2, k8sworker3',
      observed: 'k8sworker1 13, k8sworker2 12, k8sworker3 12',
    });
  });
});
