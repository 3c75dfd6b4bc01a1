import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import { parseCounters } from '../../scripts/matrix/proof-counters.ts';
import { dropPointOf, stoppingRules } from '../../scripts/matrix/proof-drops.ts';
import type { MachineState, ObservedState, Route } from '../../scripts/matrix/state/types.ts';
import type { Cell } from '../../scripts/matrix/types.ts';
import { endpointsOf, planOf } from './fixtures.ts';
import { via } from './network-of.ts';
import { C1, C3, M, NEAR, NEW, OLD, ok, outcomeOf, P1, P2, R, rerouted, W1, W2, W3 } from './rows.ts';
import { flowSource, type LabWish, syntheticLab, targetNamed } from './synthetic-lab.ts';

/** Several machines with another route each. */
function routes(...changes: readonly (readonly [string, Route])[]): LabWish {
  return {
    machine: (machine) => changes.reduce((each, [name, route]) => rerouted(name, route)(each), machine),
  };
}

function without(machine: MachineState): MachineState {
  return { ...machine, dropsInvalid: false };
}

const P2_ONLY: LabWish = { pods: [{ name: 'p2', on: 'w2' }] };
const TO_W1 = ['r', via('10.3.0.0/16', [W1], 'bgp')] as const;

interface Row {
  readonly way: string;
  readonly from: string;
  readonly to: string;
  readonly lab: LabWish;
  /** The node that drops it; absent where it is answered. */
  readonly at?: string;
}

const ROWS: readonly Row[] = [
  {
    way: 'to a pod by a node, and straight back',
    from: 'near',
    to: 'pod/p1',
    lab: routes(['near', via(`${P1}/32`, [W3])]),
    at: 'w3',
  },
  {
    way: 'to a pod by the router, and back by a node',
    from: 'near',
    to: 'pod/p1',
    lab: routes(['w1', via(`${NEAR}/32`, [W3])]),
    at: 'w3',
  },
  {
    way: 'to a pod and back by the same node',
    from: 'near',
    to: 'pod/p1',
    lab: routes(['near', via(`${P1}/32`, [W3])], ['w1', via(`${NEAR}/32`, [W3])]),
  },
  { way: 'to a pod by the router, and straight back', from: 'near', to: 'pod/p1', lab: {} },
  {
    way: 'from pod to pod by a third node, and straight back',
    from: 'pod/c1',
    to: 'pod/p2',
    lab: routes(['w1', via(`${P2}/32`, [W3])]),
    at: 'w3',
  },
  {
    way: 'from pod to pod and back by a third node',
    from: 'pod/c1',
    to: 'pod/p2',
    lab: routes(['w1', via(`${P2}/32`, [W3])], ['w2', via(`${C1}/32`, [W3])]),
  },
  {
    way: 'from a node itself to a pod by another node, and straight back',
    from: 'w1',
    to: 'pod/p2',
    lab: routes(['w1', via(`${P2}/32`, [W3])]),
    at: 'w3',
  },
  {
    way: 'to the node that translates by another node, and straight back',
    from: 'near',
    to: 'node-port/w1',
    lab: routes(['near', via(`${W1}/32`, [W3])]),
    at: 'w3',
  },
  {
    way: 'to the node that translates and back by another node',
    from: 'near',
    to: 'node-port/w1',
    lab: routes(['near', via(`${W1}/32`, [W3])], ['w1', via(`${NEAR}/32`, [W3])]),
  },
  {
    way: 'from the node that translates by another one to the pod, and straight back',
    from: 'near',
    to: 'cluster-ip',
    lab: { ...P2_ONLY, ...routes(TO_W1, ['w1', via(`${P2}/32`, [W3])]) },
    at: 'w3',
  },
  {
    way: 'from the node that translates to the pod, and back by another one',
    from: 'near',
    to: 'cluster-ip',
    lab: { ...P2_ONLY, ...routes(TO_W1, ['w2', via(`${W1}/32`, [W3])]) },
    at: 'w3',
  },
  {
    way: 'from the node that translates to the pod and back by another one',
    from: 'near',
    to: 'cluster-ip',
    lab: {
      ...P2_ONLY,
      ...routes(TO_W1, ['w1', via(`${P2}/32`, [W3])], ['w2', via(`${W1}/32`, [W3])]),
    },
  },
  {
    way: 'from a pod, masqueraded, to a node by another one, and straight back',
    from: 'pod/c1',
    to: 'node-port/w2',
    lab: routes(['w1', via(`${W2}/32`, [W3])]),
    at: 'w3',
  },
];

describe.each([OLD, NEW])('a connection of which a node sees one direction only (%s)', (version) => {
  it.each(ROWS)('$way: $at', ({ from, to, lab, at }) => {
    const { expected, skipped } = outcomeOf({ ...lab, version }, from, to);
    expect([expected.outcome, skipped]).toEqual([at === undefined ? 'ok' : 'timeout', undefined]);
    const last = expected.chain.at(-1);
    if (at === undefined) expect(JSON.stringify(expected.chain)).not.toContain('KUBE-FORWARD');
    else {
      expect(last).toMatchObject({ at, layer: 'rule', chains: ['KUBE-FORWARD'] });
      expect(expected.why).toContain(`${at} sees `);
      expect(`${expected.why} ${last?.text}`).not.toMatch(/\{at\}|undefined/);
    }
  });

  it.each(ROWS)('$way: answered, where it is of datagrams', ({ from, to, lab }) => {
    expect(outcomeOf({ ...lab, version, protocol: 'udp' }, from, to).expected.outcome).toBe('ok');
  });

  it('drops the answer to a ping without the request, but no request', () => {
    const pinged = (lab: LabWish) => {
      const state = syntheticLab({ ...lab, version });
      const target = { ...targetNamed(state, 'pod/p1'), protocol: 'icmp', port: 0 } as const;
      return predict(networkOf(state), flowSource(state, 'near'), target).expected.outcome;
    };
    expect(pinged(routes(['near', via(`${P1}/32`, [W3])]))).toBe('ok');
    expect(pinged(routes(['w1', via(`${NEAR}/32`, [W3])]))).toBe('timeout');
  });

  it.each(ROWS)('$way: answered, where no node has that rule', ({ from, to, lab }) => {
    const { machine = (each: MachineState) => each } = lab;
    const bare = { ...lab, version, machine: (each: MachineState) => without(machine(each)) };
    expect(outcomeOf(bare, from, to).expected.outcome).toBe('ok');
  });
});

describe('a pod network that does not masquerade everywhere', () => {
  const bare = (names: readonly string[], lab: LabWish): LabWish => ({
    ...lab,
    machine: (each) => {
      const { natOutgoing, ...rest } = lab.machine?.(each) ?? each;
      return names.includes(each.name) || natOutgoing === undefined ? rest : { ...rest, natOutgoing };
    },
  });

  it('has the same before the node that does it', () => {
    const ways = [
      ['w1', via(`${W2}/32`, [M])],
      ['m', via(`${W2}/32`, [W3])],
    ] as const;
    const { expected } = outcomeOf(bare(['w1', 'm'], routes(...ways)), 'pod/c1', 'node-port/w2');
    expect([expected.outcome, expected.chain.at(-1)?.at]).toEqual(['timeout', 'm']);
    const back = bare(['w1', 'm'], routes(...ways, ['w3', via(`${C1}/32`, [M])]));
    expect(outcomeOf(back, 'pod/c1', 'node-port/w2').expected).toMatchObject(ok([P2], [W3]));
  });

  it('has no trouble beyond the node that translates', () => {
    const lab = routes(
      ['w1', via(`${P2}/32`, [M])],
      ['w2', via(`${C3}/32`, [M])],
      ['m', via(`${C3}/32`, [W1])],
    );
    const pods = [
      { name: 'p2', on: 'w2' },
      { name: 'c3', on: 'w3', serves: false },
    ];
    expect(outcomeOf(bare(['w3'], { ...lab, pods }), 'pod/c3', 'node-port/w1').expected).toMatchObject(
      ok([P2], [C3]),
    );
  });
});

describe('what is said of it', () => {
  it('is which direction is missing', () => {
    const there = outcomeOf(routes(['near', via(`${P1}/32`, [W3])]), 'near', 'pod/p1').expected;
    expect(there.why).toBe(
      'w3 sees the way to the pod alone, because the answer goes past it, and drops what follows the first packet as invalid (KUBE-FORWARD).',
    );
    const back = outcomeOf(routes(['w1', via(`${NEAR}/32`, [W3])]), 'near', 'pod/p1').expected;
    expect(back.chain.at(-1)?.text).toBe(
      'KUBE-FORWARD --ctstate INVALID; the first packet goes past it, so the answer is INVALID: dropped',
    );
  });

  it('is that chance decides, where the answer may take either way', () => {
    const lab = routes(['near', via(`${P1}/32`, [W3])], ['w1', via(`${NEAR}/32`, [W3, R])]);
    const straight = outcomeOf(lab, 'near', 'pod/p1');
    expect(straight.expected).toMatchObject(ok([P1], [NEAR]));
    expect(straight.expected.why).toMatch(/^Chance decides between ok and timeout: w3 sees/);
    const behind = { ...P2_ONLY, ...routes(TO_W1, ['w1', via(`${P2}/32`, [W3, W2])]) };
    expect(outcomeOf(behind, 'near', 'cluster-ip').chance).toBe('chance decides between ok and timeout');
  });

  it('is nothing, where one of several pods alone is reached that way: chance decides then', () => {
    const lab = routes(TO_W1, ['w1', via(`${P2}/32`, [W3])]);
    expect(outcomeOf(lab, 'near', 'cluster-ip').chance).toBe('chance decides between ok and timeout');
  });
});

describe('a lab whose routes are as they should be', () => {
  const bare = (state: ObservedState): ObservedState => ({
    ...state,
    machines: new Map([...state.machines].map(([name, machine]) => [name, without(machine)])),
  });

  it('has no such connection: the default lab', () => {
    const state = endpointsOf();
    expect(buildCells(planOf(), state)).toEqual(buildCells(planOf(), bare(state)));
  });

  it.each([1, 3, 20])('has none with %i workers either', (workers) => {
    const wish: LabWish = {
      workers,
      pods: [
        { name: 'p1', on: 'w1' },
        { name: 'c', on: 'm', serves: false },
      ],
    };
    const froms = ['m', 'w1', 'r', 'near', 'far', 'pod/c', 'pod/p1'];
    for (const policy of ['Local', 'Cluster'] as const)
      for (const from of froms)
        for (const to of ['pod/p1', 'cluster-ip', 'external-ip', 'node-port/m', 'node-port/w1', 'name']) {
          const lab = { ...wish, service: { policy } };
          expect(outcomeOf(lab, from, to), `${from}>${to}`).toEqual(
            outcomeOf({ ...lab, machine: without }, from, to),
          );
        }
  });
});

describe('the rule that has to count it', () => {
  it('is that of KUBE-FORWARD, for all connections of the node together', () => {
    const state = syntheticLab();
    const { expected } = outcomeOf(routes(['near', via(`${P1}/32`, [W3])]), 'near', 'pod/p1');
    const cell: Cell = {
      id: 'near>pod/p1:80/tcp',
      from: 'near',
      kind: 'pod',
      to: 'pod/p1',
      address: P1,
      port: 80,
      protocol: 'tcp',
      expected,
    };
    const point = dropPointOf(state, cell);
    expect(point).toMatchObject({ nodes: ['w3'], key: 'KUBE-FORWARD' });
    const rules = parseCounters(
      [
        '*filter',
        '[7:374] -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
        '[9:1] -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j DROP',
        '[9:1] -A KUBE-FORWARD -m conntrack --ctstate INVALID -j ACCEPT',
        '[9:1] -A OTHER -m conntrack --ctstate INVALID -j DROP',
        'COMMIT',
      ].join('\n'),
    );
    expect(point === undefined ? [] : stoppingRules(point, rules).map(({ packets }) => packets)).toEqual([7]);
  });
});
