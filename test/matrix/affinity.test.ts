import { describe, expect, it } from 'vitest';
import { attemptsFor, checkAffinity, planAffinity } from '../../scripts/matrix/affinity.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { MISS_PROBABILITY } from '../../scripts/matrix/ecmp.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import { notObserved } from '../../scripts/matrix/run.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import type { CellResult, Observation } from '../../scripts/matrix/types.ts';
import { endpointsOf, POD_IPS, planOf, rightly } from './fixtures.ts';

/** The default lab, with affinity for these services. */
function sticky(...names: readonly string[]): ObservedState {
  const state = endpointsOf();
  const services = state.services.map((service) =>
    names.includes(service.name) ? { ...service, affinity: 'ClientIP' as const } : service,
  );
  return { ...state, services };
}

function resultsOf(state: ObservedState, failing = ''): readonly CellResult[] {
  const cells = buildCells(planOf(), state);
  const seen = cells.map((cell): [string, Observation] => [
    cell.id,
    rightly(cell, cell.id === failing ? { outcome: 'timeout', server: null, client: null } : {}),
  ]);
  return judgeCells(cells, new Map(seen));
}

const STATE = sticky('echo-ci-tcp', 'echo-lb-tcp');
const CLUSTER_IP = 'pod/echo-client1>echo-ci-tcp/cluster-ip:1234/tcp';

describe('how many connections it takes', () => {
  it.each([2, 3, 20])('among %i pods: few enough to be wrong by chance', (pods) => {
    const count = attemptsFor(pods);
    expect(pods * (1 / pods) ** count).toBeLessThanOrEqual(MISS_PROBABILITY * 1.0001);
    expect(pods * (1 / pods) ** (count - 1)).toBeGreaterThan(MISS_PROBABILITY);
  });
});

describe('what is planned', () => {
  it('is nothing where no service has affinity', () => {
    expect(planAffinity(endpointsOf(), resultsOf(endpointsOf()))).toEqual([]);
  });

  it('is what one node chooses a pod for, with connections of ids of their own', () => {
    const plans = planAffinity(STATE, resultsOf(STATE));
    const ids = plans.map(({ cell }) => cell.id);
    expect(ids).toContain(CLUSTER_IP);
    expect(ids).toContain('k8sworker1>echo-lb-tcp/cluster-ip:1234/tcp');
    expect(ids).toContain('k8sworker1>echo-lb-tcp/k8sworker1:32153/tcp');
    // One pod only, and several nodes: neither says anything about affinity.
    expect(ids).not.toContain('ubuntu>echo-lb-tcp/k8sworker1:32153/tcp');
    expect(ids).not.toContain('routed>echo-ci-tcp/cluster-ip:1234/tcp');
    expect(ids).not.toContain('routed>echo-lb-tcp/2.2.2.2:1234/tcp');
    expect(ids.filter((id) => !/echo-(ci|lb)-tcp/.test(id))).toEqual([]);
    expect(plans.find(({ cell }) => cell.id === CLUSTER_IP)).toMatchObject({ node: 'k8sworker1' });
    const flows = plans.flatMap((plan) => plan.flows.map(({ id }) => id));
    expect(new Set(flows).size).toBe(flows.length);
    expect(plans[0]?.flows).toHaveLength(1 + attemptsFor(3));
  });

  it('reminds the node of the client first, which sessionAffinityConfig may have made it forget', () => {
    const [first, ...others] = planAffinity(STATE, resultsOf(STATE))[0]?.flows ?? [];
    expect(first?.delayMs).toBeUndefined();
    expect(new Set(others.map(({ delayMs }) => delayMs))).toEqual(new Set([300]));
  });

  it('leaves out what was not answered, and controls', () => {
    const failed = planAffinity(STATE, resultsOf(STATE, CLUSTER_IP));
    expect(failed.map(({ cell }) => cell.id)).not.toContain(CLUSTER_IP);
    const controls = resultsOf(STATE).map((result) => ({
      ...result,
      cell: { ...result.cell, controlOf: ['x'] },
    }));
    expect(planAffinity(STATE, controls)).toEqual([]);
  });
});

describe('a client of a service with affinity', () => {
  const [plan] = planAffinity(STATE, resultsOf(STATE)).filter(({ cell }) => cell.id === CLUSTER_IP);
  if (plan === undefined) throw new Error('nothing is planned');

  /** The check, where the n-th connection was seen like this. */
  function said(see: (index: number) => Partial<Observation> | undefined) {
    const seen = new Map(
      plan?.flows.flatMap((flow, index): [string, Observation][] => {
        const change = see(index);
        return change === undefined ? [] : [[flow.id, rightly(flow, change)]];
      }),
    );
    return checkAffinity(STATE, [...(plan === undefined ? [] : [plan])], seen)[0];
  }

  it('stays with one pod, whichever that is', () => {
    expect(said(() => ({ server: POD_IPS[2] ?? '' }))).toMatchObject({
      id: `affinity.${CLUSTER_IP}`,
      verdict: 'passed',
      seen: { flows: attemptsFor(3), counts: [{ answer: 'echo-server3', count: attemptsFor(3) }] },
    });
  });

  it('stays with one pod, though the first connection went to another that was not remembered any more', () => {
    expect(said((index) => ({ server: POD_IPS[index === 0 ? 1 : 0] ?? '' }))?.verdict).toBe('passed');
  });

  it('does not, where one connection goes to another', () => {
    const check = said((index) => ({ server: POD_IPS[index === 5 ? 1 : 0] ?? '' }));
    expect(check).toMatchObject({
      verdict: 'failed',
      reason: 'several-pods',
      wanted: { node: 'k8sworker1' },
      seen: {
        counts: [
          { answer: 'echo-server1', count: attemptsFor(3) - 1 },
          { answer: 'echo-server2', count: 1 },
        ],
      },
    });
  });

  it('is not known to, where a connection got no answer', () => {
    expect(said(() => ({ outcome: 'timeout', server: null }))?.reason).toBe('unanswered');
    expect(said((index) => (index === 1 ? notObserved('lost') : {}))?.verdict).toBe('harness');
    expect(said((index) => (index === 1 ? undefined : {}))?.verdict).toBe('harness');
  });
});
