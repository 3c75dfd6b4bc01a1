import { describe, expect, it } from 'vitest';
import { calicoSettings } from '../../scripts/bgp/calico/settings.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { blockCells } from '../../scripts/matrix/layer-cells.ts';
import { layerChecks } from '../../scripts/matrix/layers.ts';
import { checkPodNetwork } from '../../scripts/matrix/pod-network.ts';
import type { MachineState, ObservedState, Route } from '../../scripts/matrix/state/types.ts';
import { describeCheck } from '../../scripts/report/check-text.ts';
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
    expect(checks[0]?.seen).toEqual({ rule: { sources: [CIDR], except: [CIDR] } });
  });

  it('is not where the rule is missing', () => {
    const check = said(({ natOutgoing: _, ...machine }) => machine);
    expect(check).toMatchObject({ verdict: 'failed', reason: 'missing', seen: { rule: null } });
  });

  it.each([
    ['for other sources', { sources: ['10.99.0.0/16'], except: [CIDR] }],
    ['with other exceptions', { sources: [CIDR], except: [] }],
  ])('is masqueraded wrongly %s', (_, rule) => {
    const check = said((machine) => ({ ...machine, natOutgoing: { chain: 'X', ...rule } }));
    expect(check).toMatchObject({ verdict: 'failed', reason: 'other-addresses', seen: { rule } });
  });

  it.each([
    ['more exceptions', { sources: [CIDR], except: ['192.168.13.30', '10.255.0.0/16', '2.2.2.2/32'] }],
    ['a wider exception', { sources: [CIDR], except: ['10.0.0.0/8'] }],
  ])('is right with %s', (_, rule) => {
    expect(said((machine) => ({ ...machine, natOutgoing: { chain: 'X', ...rule } }))?.verdict).toBe('passed');
  });

  describe("with Calico follows its pools, not the lab's plan", () => {
    const pool = (cidr: string, natOutgoing: boolean) => ({
      ...{ cidr, natOutgoing, disabled: false },
      ...{ ipip: 'Never' as const, vxlan: 'Never' as const },
    });
    const verdict = (pools: ReturnType<typeof pool>[], rule?: { sources: string[]; except: string[] }) => {
      const changed = withWorker(({ natOutgoing: _, ...machine }) => ({
        ...machine,
        ...(rule === undefined ? {} : { natOutgoing: { chain: 'X', ...rule } }),
      }));
      const calico = { ...calicoSettings([]), pools };
      const check = checkPodNetwork(plan, { ...changed, calico }).find(({ id }) => id.endsWith('k8sworker1'));
      return [check?.verdict, check?.reason, check && describeCheck(check).expected];
    };
    const off = [pool(CIDR, false)];
    const two = [pool(CIDR, true), pool('10.77.0.0/16', false)];

    it.each([
      ['natOutgoing off', off, undefined, 'passed', 'as-wanted', 'nothing is masqueraded'],
      [
        'one that is off but stays',
        off,
        { sources: [CIDR], except: [CIDR] },
        'failed',
        'other-addresses',
        'nothing',
      ],
      [
        'one of two pools',
        two,
        { sources: [CIDR], except: [CIDR, '10.77.0.0/16'] },
        'passed',
        'as-wanted',
        CIDR,
      ],
      [
        'the second as well',
        two,
        { sources: [CIDR, '10.77.0.0/16'], except: [CIDR, '10.77.0.0/16'] },
        'failed',
        'other-addresses',
        CIDR,
      ],
      [
        'no exception for the second',
        two,
        { sources: [CIDR], except: [CIDR] },
        'failed',
        'other-addresses',
        CIDR,
      ],
      ['none', two, undefined, 'failed', 'missing', CIDR],
    ])('%s', (_, pools, rule, wanted, reason, expected) => {
      expect(verdict(pools, rule)).toEqual([wanted, reason, expect.stringContaining(expected)]);
    });
  });

  it('is not known where the rule cannot be read', () => {
    const natOutgoing = { chain: 'X', sources: [], except: [], problem: 'no sets' };
    expect(said((machine) => ({ ...machine, natOutgoing }))).toMatchObject({
      verdict: 'harness',
      problem: 'no sets',
    });
  });

  it('has no check where the node itself could not be looked at', () => {
    expect(said((machine) => ({ ...machine, problem: 'connection lost' }))).toBeUndefined();
  });
});

describe("Calico's gateway", () => {
  const calico = { ...plan, choices: { ...plan.choices, cni: { value: 'calico' as const, why: 'test' } } };
  const gateway = (to: string): Route => ({
    prefix: to,
    type: 'unicast',
    protocol: 'boot',
    metric: 0,
    hops: [{ interface: 'eth0' }],
  });
  const withRoutes = (...routes: readonly Route[]) =>
    withWorker((machine) => ({ ...machine, routes: [...machine.routes, ...routes] }));
  const ofWorker = (state: ObservedState) =>
    checkPodNetwork(calico, state).find(({ id }) => id === 'pod-network.k8sworker1.gateway');

  it('is no matter with the bird CNI', () => {
    expect(checkPodNetwork(plan, state).some(({ id }) => id.endsWith('.gateway'))).toBe(false);
  });

  it.each(['169.254.1.1/32', '0.0.0.0/0'])('is answered with a route to %s', (to) => {
    expect(ofWorker(withRoutes(gateway(to)))).toMatchObject({
      verdict: 'passed',
      seen: { interface: 'eth0' },
    });
  });

  it('is not answered without one, and every cell of a pod there is blocked', () => {
    const check = ofWorker(state);
    expect(check).toMatchObject({ verdict: 'failed', reason: 'missing', wanted: { gateway: '169.254.1.1' } });
    const layered = layerChecks(calico, check === undefined ? [] : [check]);
    const blocked = new Map(
      blockCells(calico, state, layered, buildCells(calico, state)).map((cell) => [cell.id, cell.blockedBy]),
    );
    const root = 'pod-network.k8sworker1.gateway';
    expect(blocked.get('ubuntu>echo-np-tcp/k8sworker1:31234/tcp')).toBe(root);
    expect(blocked.get('pod/echo-client1>echo-np-tcp/k8sworker2:31234/tcp')).toBe(root);
    expect(blocked.get('routed>echo-ci-tcp/cluster-ip:1234/tcp')).toBe(root);
    expect(blocked.get('ubuntu>echo-np-tcp/k8sworker2:31234/tcp')).toBeUndefined();
    expect(blocked.get('ubuntu>echo-np-tcp/k8smaster1:31234/tcp')).toBeUndefined();
  });
});
