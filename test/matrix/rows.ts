import { expect, it } from 'vitest';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import type { MachineState, Route } from '../../scripts/matrix/state/types.ts';
import {
  ADDRESS,
  flowSource,
  type LabWish,
  podAddress,
  syntheticLab,
  targetNamed,
  workerAddress,
} from './synthetic-lab.ts';

export const [P1, C1, P2, C3] = [podAddress(1, 0), podAddress(1, 1), podAddress(2, 0), podAddress(3, 0)];
export const [W1, W2, W3] = [workerAddress(1), workerAddress(2), workerAddress(3)];
export const { m: M, r: R, near: NEAR, far: FAR } = ADDRESS;
export const BOTH = [P1, P2];

/** The generations of kube-proxy's rules. */
export const OLD = '1.20.2';
export const NEW = '1.30.1';
export const NFT = '1.36.3 nftables';

/** One rule with a connection that shows it. */
export interface Row {
  /** The row of the semantics that it stands for: facts of kube-proxy, or sources seen by the server. */
  readonly fact: string;
  readonly from: string;
  readonly to: string;
  readonly outcome: string;
  readonly servers?: readonly string[];
  readonly clients?: readonly string[];
  readonly lab?: LabWish;
  /** Default: all of them. Those of 1.24 and later are the same in nftables mode, unless a row says otherwise. */
  readonly versions?: readonly string[];
}

export const CLUSTER: LabWish = { service: { policy: 'Cluster' } };
export const NOBODY: LabWish = { pods: [{ name: 'c1', on: 'w1', serves: false }] };
export const UNREADY: LabWish = {
  pods: [
    { name: 'p1', on: 'w1', ready: false },
    { name: 'p2', on: 'w2' },
    { name: 'c1', on: 'w1', serves: false },
  ],
};

/** The outcome ok. */
export function ok(servers: readonly string[], clients: readonly string[]) {
  return { outcome: 'ok', servers, clients };
}
/** A test per row and generation. */
export function testRows(rows: readonly Row[]): void {
  const cases = rows.flatMap((row) =>
    (row.versions ?? [OLD, NEW, NFT]).map((version) => ({
      ...row,
      version,
      name: `${row.fact} (${version})`,
    })),
  );
  it.each(cases)('$name', ({ from, to, version: named, lab = {}, outcome, servers = [], clients = [] }) => {
    const [version = '', mode = 'iptables'] = named.split(' ');
    const state = syntheticLab({ ...lab, version, proxy: { mode, ...lab.proxy } });
    const prediction = predict(networkOf(state), flowSource(state, from), targetNamed(state, to));
    const { why, chain, ...expected } = prediction.expected;
    expect({ ...expected, skipped: prediction.skipped }).toEqual({
      outcome,
      servers,
      clients,
      skipped: undefined,
    });
    expect(why).toMatch(/^\S.{15,}\.$/);
    expect(`${why} ${JSON.stringify(chain)}`).not.toMatch(/\{at\}|undefined|NaN/);
  });
}

/** Gives one machine other routes for one prefix. */
export function rerouted(name: string, route: Route): (machine: MachineState) => MachineState {
  return (machine) =>
    machine.name === name
      ? { ...machine, routes: [...machine.routes.filter(({ prefix }) => prefix !== route.prefix), route] }
      : machine;
}

/** Predicts one connection of a synthetic lab. */
export function outcomeOf(lab: LabWish, from: string, to: string) {
  const state = syntheticLab(lab);
  return predict(networkOf(state), flowSource(state, from), targetNamed(state, to));
}
