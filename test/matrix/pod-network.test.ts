import { describe, expect, it } from 'vitest';
import { checkPodNetwork } from '../../scripts/matrix/pod-network.ts';
import type { MachineState, ObservedState } from '../../scripts/matrix/state/types.ts';
import { endpointsOf, planOf } from './fixtures.ts';

const plan = planOf();
const state = endpointsOf();
const NODES = ['k8smaster1', 'k8sworker1', 'k8sworker2', 'k8sworker3'];
const CIDR = plan.kubernetes.podCidr;

function withWorker(change: (machine: MachineState) => MachineState): ObservedState {
  const worker = state.machines.get('k8sworker1');
  if (worker === undefined) throw new Error('no worker');
  return { ...state, machines: new Map(state.machines).set('k8sworker1', change(worker)) };
}

/** What is said of the one worker that was changed. */
function said(change: (machine: MachineState) => MachineState) {
  const checks = checkPodNetwork(plan, withWorker(change));
  expect(checks.filter(({ verdict }) => verdict === 'passed').length).toBeGreaterThanOrEqual(3);
  return checks.find(({ id }) => id === 'pod-network.k8sworker1');
}

describe('what leaves the pod network', () => {
  it('is masqueraded by every node', () => {
    const checks = checkPodNetwork(plan, state);
    expect(checks.map(({ id, verdict }) => [id, verdict])).toEqual(
      NODES.map((node) => [`pod-network.${node}`, 'passed']),
    );
    expect(checks[0]?.observed).toBe(`what comes from ${CIDR} is masqueraded, unless it is for ${CIDR}`);
  });

  it('is not where the rule is missing', () => {
    const check = said(({ natOutgoing: _, ...machine }) => machine);
    expect(check).toMatchObject({ verdict: 'failed', observed: 'nothing is masqueraded' });
  });

  it.each([
    ['for other sources', { sources: ['10.99.0.0/16'], except: [CIDR] }],
    ['with other exceptions', { sources: [CIDR], except: [] }],
  ])('is masqueraded wrongly %s', (_, rule) => {
    const check = said((machine) => ({ ...machine, natOutgoing: { chain: 'X', ...rule } }));
    expect(check?.verdict).toBe('failed');
    expect(check?.observed).not.toBe(check?.expected);
  });

  it('is not known where the rule cannot be read', () => {
    const natOutgoing = { chain: 'X', sources: [], except: [], problem: 'no sets' };
    expect(said((machine) => ({ ...machine, natOutgoing }))).toMatchObject({
      verdict: 'harness',
      observed: 'no sets',
    });
  });

  it('has no check where the node itself could not be looked at', () => {
    expect(said((machine) => ({ ...machine, problem: 'connection lost' }))).toBeUndefined();
  });
});
