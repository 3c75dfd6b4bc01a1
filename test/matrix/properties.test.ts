import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import type { Expectation } from '../../scripts/matrix/types.ts';
import { flowSource, type LabWish, type PodWish, syntheticLab, targetNamed } from './synthetic-lab.ts';

/** A small generator of numbers that are the same in every run (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

const VERSIONS = ['1.20.2', '1.24.17', '1.30.1'];

/** A lab of 1 to 20 workers with pods anywhere, ready or not, and any policies. */
function wishOf(seed: number): LabWish & { readonly pods: readonly PodWish[] } {
  const next = random(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T;
  const workers = 1 + Math.floor(next() * 20);
  const nodes = ['m', ...Array.from({ length: workers }, (_, index) => `w${index + 1}`)];
  const pods = Array.from({ length: Math.floor(next() * 6) }, (_, index): PodWish => {
    const terminating = next() < 0.15;
    return {
      name: `p${index}`,
      on: pick(nodes),
      ...(terminating ? { terminating, ready: false } : { ready: next() < 0.75 }),
    };
  });
  return {
    workers,
    version: pick(VERSIONS),
    protocol: pick(['tcp', 'udp'] as const),
    hashPolicy: pick([0, 1]),
    pods: [...pods, { name: 'c', on: pick(nodes), serves: false }],
    service: {
      policy: pick(['Local', 'Cluster'] as const),
      internalPolicy: pick(['Local', 'Cluster', 'Cluster'] as const),
      affinity: pick(['None', 'ClientIP'] as const),
    },
  };
}

interface Seen {
  readonly from: string;
  readonly to: string;
  readonly expected: Expectation;
  readonly skipped: string | undefined;
}

function everyCell(state: ObservedState): readonly Seen[] {
  const network = networkOf(state);
  const froms = [
    ...state.machines.keys(),
    ...state.pods.filter(({ ready }) => ready).map(({ name }) => `pod/${name}`),
  ];
  const tos = [
    'cluster-ip',
    'external-ip',
    'name',
    ...state.nodes.map(({ name }) => `node-port/${name}`),
    ...state.pods.filter(({ ready }) => ready).map(({ name }) => `pod/${name}`),
  ];
  return froms.flatMap((from) =>
    tos.map((to) => {
      const { expected, skipped } = predict(network, flowSource(state, from), targetNamed(state, to));
      return { from, to, expected, skipped };
    }),
  );
}

const SEEDS = Array.from({ length: 120 }, (_, index) => index + 1);
const labs = SEEDS.map((seed) => {
  const wish = wishOf(seed);
  const state = syntheticLab(wish);
  const [service] = state.services;
  if (service === undefined) throw new Error('a synthetic lab has a service');
  return { seed, wish, state, service, cells: everyCell(state) };
});

/** Every violation in every lab, as one list: an empty one is what a property asks for. */
function violations(broken: (lab: (typeof labs)[number], cell: Seen) => boolean): readonly string[] {
  return labs.flatMap((lab) =>
    lab.cells
      .filter((cell) => broken(lab, cell))
      .map(({ from, to, expected }) => {
        const { outcome, servers, clients } = expected;
        return `${lab.seed}: ${from} > ${to}: ${outcome} ${servers} <- ${clients}`;
      }),
  );
}

const answerOf = ({ outcome, servers, clients }: Expectation) => ({ outcome, servers, clients });

/** Equal, with the difference where it is not: node compares ten thousand of them in a tenth of the time of expect(). */
function expectSame(seen: unknown, wanted: unknown, what: string): void {
  if (!isDeepStrictEqual(seen, wanted)) expect(seen, what).toEqual(wanted);
}

const isOutside = (from: string) => from === 'near' || from === 'far' || from === 'r';

describe('in 120 generated labs', () => {
  it('there are enough cells of every kind for this to mean something', () => {
    const outcomes = new Map<string, number>();
    for (const { expected } of labs.flatMap(({ cells }) => cells))
      outcomes.set(expected.outcome, (outcomes.get(expected.outcome) ?? 0) + 1);
    for (const outcome of ['ok', 'refused', 'timeout', 'no-route', 'dns-error', 'dns-nxdomain', 'denied'])
      expect(outcomes.get(outcome) ?? 0, outcome).toBeGreaterThan(20);
  });

  it('every cell can be predicted, but where the next hop decides: internalTrafficPolicy Local from outside', () => {
    const skipped = ({ service }: (typeof labs)[number], { from, to, skipped: why }: Seen) =>
      why !== undefined && !(service.internalPolicy === 'Local' && to === 'cluster-ip' && isOutside(from));
    expect(violations(skipped)).toEqual([]);
  });

  it('servers and clients are named exactly where the outcome is ok', () => {
    expect(
      violations((_, { expected: { outcome, servers, clients } }) =>
        outcome === 'ok' ? servers.length === 0 || clients.length === 0 : servers.length + clients.length > 0,
      ),
    ).toEqual([]);
  });

  it('every cell has a way, from where it starts, and a sentence', () => {
    expect(
      violations(({ state }, { from, expected: { chain, why } }) => {
        const pod = state.pods.find(({ name }) => `pod/${name}` === from);
        const start = pod?.hostNetwork === true ? pod.node : from;
        return (
          chain[0]?.at !== start ||
          !/^\S.*\.$/.test(why) ||
          /\{at\}|undefined/.test(JSON.stringify(chain) + why)
        );
      }),
    ).toEqual([]);
  });

  it('a service is answered by its own usable endpoints only', () => {
    expect(
      violations(({ service }, { to, expected: { servers } }) => {
        if (to.startsWith('pod/')) return false;
        const usable = service.endpoints.filter(({ ready, serving }) => ready || serving).map(({ ip }) => ip);
        return servers.some((server) => !usable.includes(server));
      }),
    ).toEqual([]);
  });

  it('policy Local gives a client outside a local pod and keeps its address', () => {
    expect(
      violations(({ service, state }, { from, to, expected: { servers, clients } }) => {
        const node = /^node-port\/(.*)$/.exec(to)?.[1];
        if (service.policy !== 'Local' || !isOutside(from) || node === undefined || servers.length === 0)
          return false;
        const remote = servers.some((ip) => service.endpoints.find((each) => each.ip === ip)?.node !== node);
        return remote || clients.join() !== state.machines.get(from)?.interfaces[1]?.addresses[0]?.address;
      }),
    ).toEqual([]);
  });

  it('policy Cluster hides everybody behind the node that was addressed', () => {
    expect(
      violations(({ service, state }, { to, expected: { outcome, clients } }) => {
        const node = /^node-port\/(.*)$/.exec(to)?.[1];
        if (service.policy !== 'Cluster' || node === undefined || outcome !== 'ok') return false;
        return clients.join() !== state.nodes.find(({ name }) => name === node)?.addresses[0];
      }),
    ).toEqual([]);
  });

  it('nobody is there: rejected, never dropped', () => {
    expect(
      violations(({ service }, { to, expected: { outcome } }) => {
        const isNobody = service.endpoints.every(({ ready, serving }) => !ready && !serving);
        return isNobody && to.startsWith('node-port/') && outcome !== 'refused';
      }),
    ).toEqual([]);
  });

  it('a pod keeps its address towards a ClusterIP, unless it is sent back to itself', () => {
    expect(
      violations(({ state }, { from, to, expected: { outcome, clients, servers } }) => {
        const pod = state.pods.find(({ name }) => `pod/${name}` === from);
        if (to !== 'cluster-ip' || pod?.ip === undefined || outcome !== 'ok') return false;
        return !servers.includes(pod.ip) && clients.join() !== pod.ip;
      }),
    ).toEqual([]);
  });

  it('a client without routes reaches node ports and nothing else', () => {
    expect(
      violations(
        (_, { from, to, expected: { outcome } }) =>
          from === 'far' &&
          !to.startsWith('node-port/') &&
          outcome !== (to === 'name' ? 'dns-error' : 'no-route'),
      ),
    ).toEqual([]);
  });

  it('the order in which the API server lists things changes nothing', () => {
    for (const { state, cells } of labs.slice(0, 30)) {
      const turned: ObservedState = {
        ...state,
        pods: [...state.pods].reverse(),
        nodes: [...state.nodes].reverse(),
        services: state.services.map((service) => ({
          ...service,
          endpoints: [...service.endpoints].reverse(),
        })),
        machines: new Map([...state.machines].reverse()),
      };
      const network = networkOf(turned);
      for (const { from, to, expected } of cells) {
        const now = predict(network, flowSource(turned, from), targetNamed(turned, to)).expected;
        expectSame(answerOf(now), answerOf(expected), `${from} > ${to}`);
      }
    }
  });

  it('one worker more changes nothing about the others', () => {
    for (const { wish, cells } of labs.slice(0, 30)) {
      const bigger = syntheticLab({ ...wish, workers: (wish.workers ?? 0) + 1 });
      const network = networkOf(bigger);
      for (const { from, to, expected } of cells.filter(({ to: target }) =>
        target.startsWith('node-port/'),
      )) {
        const now = predict(network, flowSource(bigger, from), targetNamed(bigger, to)).expected;
        expectSame(answerOf(now), answerOf(expected), `${from} > ${to}`);
      }
    }
  });
});

describe('what is asked twice', () => {
  it('gets the same answer', () => {
    const state = syntheticLab();
    const network = networkOf(state);
    const ask = () => predict(network, flowSource(state, 'near'), targetNamed(state, 'external-ip'));
    expect(ask()).toEqual(ask());
  });

  it('is the same, whatever was asked before: what is remembered is remembered for the right question', () => {
    for (const { state, cells } of labs.slice(0, 30)) {
      const network = networkOf(state);
      for (const { from, to, expected } of [...cells].reverse())
        expectSame(
          predict(network, flowSource(state, from), targetNamed(state, to)).expected,
          expected,
          `${from} > ${to}`,
        );
    }
  });
});
