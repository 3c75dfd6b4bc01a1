import { describe, expect, it } from 'vitest';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import type { MachineState } from '../../scripts/matrix/state/types.ts';
import { dead, via } from './network-of.ts';
import { BOTH, C1, M, NEAR, NEW, OLD, ok, outcomeOf, P1, P2, R, rerouted, W1, W2, W3 } from './rows.ts';
import {
  EXTERNAL,
  flowSource,
  type LabWish,
  syntheticLab,
  targetNamed,
  withoutClusterCidr,
} from './synthetic-lab.ts';

describe('routes as they are', () => {
  it.each([
    ['blackhole', 'timeout'],
    ['unreachable', 'host-unreachable'],
    ['prohibit', 'host-unreachable'],
  ] as const)('a route of type %s on the router', (type, outcome) => {
    const lab = { machine: rerouted('r', dead(`${EXTERNAL}/32`, type)) };
    expect(outcomeOf(lab, 'near', 'external-ip').expected.outcome).toBe(outcome);
  });

  it.each([
    ['blackhole', 'no-route'],
    ['unreachable', 'host-unreachable'],
    ['prohibit', 'denied'],
  ] as const)('a route of type %s at the source', (type, outcome) => {
    const lab = { machine: rerouted('near', dead(`${EXTERNAL}/32`, type)) };
    expect(outcomeOf(lab, 'near', 'external-ip').expected.outcome).toBe(outcome);
  });

  describe('a prefix that is refused without a route', () => {
    const refusedPrefixes = (...routes: Parameters<typeof rerouted>[1][]): LabWish => ({
      machine: (each) => {
        const machine = routes.reduce((now, route) => rerouted('far', route)(now), each);
        return machine.name === 'far' ? { ...machine, refusedPrefixes: [`${EXTERNAL}/32`] } : machine;
      },
    });
    const byDefault = via('0.0.0.0/0', [R]);

    it('does not follow the default route', () => {
      const unguarded = { machine: rerouted('far', byDefault) };
      expect(outcomeOf(unguarded, 'far', 'external-ip').expected.outcome).toBe('ok');
      const lab = refusedPrefixes(byDefault);
      expect(outcomeOf(lab, 'far', 'external-ip').expected.outcome).toBe('no-route');
      expect(outcomeOf(lab, 'far', 'pod/p1').expected.outcome).toBe('ok');
    });

    it('follows any other route', () => {
      const lab = refusedPrefixes(byDefault, via(`${EXTERNAL}/32`, [R]));
      expect(outcomeOf(lab, 'far', 'external-ip').expected.outcome).toBe('ok');
    });
  });

  it('a single next hop is the only node that can answer', () => {
    const lab = { machine: rerouted('r', via(`${EXTERNAL}/32`, [W2], 'bgp')) };
    expect(outcomeOf(lab, 'near', 'external-ip').expected).toMatchObject(ok([P2], [NEAR]));
  });

  it('a next hop that nobody has', () => {
    const lab = { machine: rerouted('near', via(`${EXTERNAL}/32`, ['10.1.0.77'])) };
    expect(outcomeOf(lab, 'near', 'external-ip').expected.outcome).toBe('timeout');
  });

  it('a next hop whose link has no carrier', () => {
    const [hop] = via(`${EXTERNAL}/32`, [R]).hops;
    const down = {
      ...via(`${EXTERNAL}/32`, [R]),
      hops: hop === undefined ? [] : [{ ...hop, isDown: true as const }],
    };
    expect(outcomeOf({ machine: rerouted('near', down) }, 'near', 'external-ip').expected.outcome).toBe(
      'timeout',
    );
  });

  it('a router that does not forward', () => {
    const lab: LabWish = { machine: (each) => (each.name === 'r' ? { ...each, ipForward: false } : each) };
    expect(outcomeOf(lab, 'near', 'pod/p1').expected.outcome).toBe('timeout');
  });

  it('routes in a circle', () => {
    const lab: LabWish = {
      machine: (each) => rerouted('r', via(`${P1}/32`, [M]))(rerouted('m', via(`${P1}/32`, [R]))(each)),
    };
    const { outcome, chain } = outcomeOf(lab, 'near', 'pod/p1').expected;
    expect(outcome).toBe('host-unreachable');
    expect(chain.at(-1)?.text).toBe('back again: near > r > m > r');
  });

  // KUBE-FIREWALL is jumped to from INPUT and OUTPUT only (iptables-save of Kubernetes 1.20.2).
  it('a node without a pod that is handed the external IP: 1.20 passes it on, 1.24 drops it', () => {
    const lab: LabWish = { machine: rerouted('near', via(`${EXTERNAL}/32`, [W3])), protocol: 'udp' };
    expect(outcomeOf({ ...lab, version: OLD }, 'near', 'external-ip').expected).toMatchObject(
      ok(BOTH, [NEAR]),
    );
    expect(outcomeOf({ ...lab, version: NEW }, 'near', 'external-ip').expected.outcome).toBe('timeout');
  });

  it('says that chance decides where one next hop answers and another does not', () => {
    const lab = { machine: rerouted('r', via(`${EXTERNAL}/32`, [W1, '10.1.0.77'], 'bgp')) };
    const { expected, chance, skipped } = outcomeOf(lab, 'near', 'external-ip');
    expect(expected).toMatchObject(ok([P1], [NEAR]));
    expect(chance).toBe('chance decides between ok and timeout');
    expect(expected.why).toBe(
      'Chance decides between ok and timeout: near sends it to r; r spreads connections over w1 and 10.1.0.77, of which 10.1.0.77 lose it: nobody on the link of r has the address 10.1.0.77.',
    );
    expect(skipped).toBeUndefined();
  });

  it('says nothing where chance decides between two failures', () => {
    const near = rerouted('near', via(`${EXTERNAL}/32`, ['10.1.0.77', R]));
    const r = rerouted('r', dead(`${EXTERNAL}/32`, 'unreachable'));
    const lab = { machine: (each: MachineState) => near(r(each)) };
    const { expected, chance, skipped } = outcomeOf(lab, 'near', 'external-ip');
    expect([expected.outcome, chance]).toEqual(['harness-error', undefined]);
    expect(skipped).toMatch(/^Chance decides between timeout and host-unreachable: /);
  });

  it('an answer that finds no way back', () => {
    const lab = { machine: rerouted('w1', dead(`${NEAR}/32`)) };
    expect(outcomeOf(lab, 'near', 'pod/p1').expected.outcome).toBe('timeout');
  });

  it('a pod network without masquerading: answers do not come back through the node that translated', () => {
    const bare = (machine: MachineState) => {
      const { natOutgoing: _, ...rest } = machine;
      return rest;
    };
    expect(outcomeOf({ machine: bare }, 'pod/c1', 'node-port/w3').expected.outcome).toBe('timeout');
  });
});

describe('kube-proxy without a clusterCIDR', () => {
  const state = (lab: LabWish = {}) => withoutClusterCidr(syntheticLab(lab));
  const outcome = (lab: LabWish, from: string, to: string) => {
    const seen = state(lab);
    return predict(networkOf(seen), flowSource(seen, from), targetNamed(seen, to));
  };

  it('keeps the source of a connection to a ClusterIP', () => {
    const lab = { workers: 1, pods: [{ name: 'p1', on: 'w1' }] };
    expect(outcome(lab, 'near', 'cluster-ip').expected).toMatchObject(ok([P1], [NEAR]));
    expect(outcome({}, 'w3', 'cluster-ip').expected).toMatchObject(ok(BOTH, [W3]));
  });

  it('loses the answers of pods on other nodes', () => {
    const lab = { pods: [{ name: 'p2', on: 'w2' }] };
    const rerouting = { ...lab, machine: rerouted('r', via('10.3.0.0/16', [W1], 'bgp')) };
    expect(outcome(rerouting, 'near', 'cluster-ip').expected).toMatchObject({ outcome: 'timeout' });
  });

  it('cannot tell a pod of policy Local from anybody else', () => {
    expect(outcome({}, 'pod/c1', 'node-port/w1').expected).toMatchObject(ok([P1], [C1]));
    expect(outcome({}, 'pod/c3', 'node-port/w3').expected.outcome).toBe('timeout');
  });
});

describe('what is not known', () => {
  it.each([
    ['ipvs', 'in ipvs mode is not modelled, only iptables and nftables'],
    ['nftables', '1.20.2 in nftables mode on w1 is not modelled'],
  ])('%s mode: service cells are skipped, pod cells are not', (mode, reason) => {
    const lab = { proxy: { mode } };
    expect(outcomeOf(lab, 'pod/c1', 'cluster-ip').skipped).toBe(`Kube-proxy ${reason}.`);
    expect(outcomeOf(lab, 'far', 'node-port/w1').skipped).toBeDefined();
    expect(outcomeOf(lab, 'pod/c1', 'pod/p2').expected.outcome).toBe('ok');
  });

  it.each([
    ['external addresses of 1.22', { version: '1.22.1' }, 'external-ip'],
    [
      'internalTrafficPolicy of 1.22',
      { version: '1.22.1', service: { internalPolicy: 'Local' as const } },
      'cluster-ip',
    ],
    ['another major version', { version: '2.0.0' }, 'cluster-ip'],
    [
      'settings that were not found',
      { proxy: { mode: 'unknown', problem: 'there is no ConfigMap' } },
      'cluster-ip',
    ],
  ])('%s: skipped', (_, lab: LabWish, to) => {
    const { expected, skipped } = outcomeOf(lab, 'pod/c1', to);
    expect(skipped).toBeDefined();
    expect(expected.outcome).toBe('harness-error');
  });

  it('policy routing: skipped', () => {
    const lab: LabWish = {
      machine: (each) => (each.name === 'r' ? { ...each, policyRules: ['100: from all lookup 7'] } : each),
    };
    expect(outcomeOf(lab, 'near', 'external-ip').skipped).toContain('100: from all lookup 7');
    expect(outcomeOf(lab, 'far', 'node-port/w1').skipped).toBeUndefined();
  });

  it('a machine that could not be looked at blocks the cells whose way leads over it, and no other', () => {
    const lab: LabWish = {
      machine: (each) => (each.name === 'w2' ? { ...each, problem: 'connection lost' } : each),
    };
    expect(outcomeOf(lab, 'near', 'external-ip').blockedBy).toBe('state.w2');
    expect(outcomeOf(lab, 'w2', 'pod/p1').blockedBy).toBe('state.w2');
    expect(outcomeOf(lab, 'far', 'node-port/w1').blockedBy).toBeUndefined();
    expect(outcomeOf(lab, 'far', 'node-port/w1').expected.outcome).toBe('ok');
  });
});

describe('the chain', () => {
  it('names the chains of each generation', () => {
    const chains = (version: string, to: string) =>
      outcomeOf({ version }, 'far', to)
        .expected.chain.flatMap(({ chains: names = [] }) => names)
        .map((name) => name.slice(0, 8));
    expect(chains(OLD, 'node-port/w1')).toEqual(['KUBE-SER', 'KUBE-NOD', 'KUBE-XLB', 'KUBE-SEP']);
    expect(chains(NEW, 'node-port/w1')).toEqual(['KUBE-SER', 'KUBE-NOD', 'KUBE-EXT', 'KUBE-SVL', 'KUBE-SEP']);
    expect(chains(OLD, 'node-port/w3')).toEqual(['KUBE-SER', 'KUBE-NOD', 'KUBE-XLB', 'KUBE-MAR', 'KUBE-FIR']);
    expect(chains(NEW, 'node-port/w3')).toEqual(['KUBE-SER', 'KUBE-NOD', 'KUBE-EXT', 'KUBE-EXT']);
  });

  it('goes from the source to the pod', () => {
    const { chain, why } = outcomeOf({}, 'near', 'external-ip').expected;
    expect(chain.map(({ at, layer }) => `${at} ${layer}`)).toEqual([
      'near route',
      'r route',
      'r bgp',
      'r route',
      'w1 rule',
      'w1 route',
      'pod/p1 endpoint',
      'w1 source',
      'w2 rule',
      'w2 route',
      'pod/p2 endpoint',
      'w2 source',
    ]);
    expect(chain[3]?.text).toContain('fib_multipath_hash_policy 1');
    expect(why).toBe(
      `near sends it to r; r spreads connections over w1 and w2, and each of them answers from its own ready pods only and keeps the client's address (externalTrafficPolicy Local).`,
    );
  });

  it('says what hash policy and session affinity do', () => {
    const text = (lab: LabWish, from: string, to: string) =>
      JSON.stringify(outcomeOf(lab, from, to).expected.chain);
    expect(text({ hashPolicy: 0 }, 'near', 'external-ip')).toContain(
      'all connections of one client take one next hop',
    );
    expect(text({ service: { affinity: 'ClientIP' } }, 'pod/c1', 'cluster-ip')).toContain(
      'sessionAffinity ClientIP',
    );
  });
});
