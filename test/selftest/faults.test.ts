import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { type Fault, MARK } from '../../scripts/selftest/fault.ts';
import { faultsFor } from '../../scripts/selftest/faults.ts';
import { globMatches } from '../../scripts/selftest/judge.ts';
import { nodePortWays } from '../../scripts/selftest/scene.ts';
import { endpointsOf, planOf } from '../matrix/fixtures.ts';

const PLAN = planOf();
const STATE = endpointsOf();
const CELLS = buildCells(PLAN, STATE);
const SCENE = { plan: PLAN, state: STATE, cells: CELLS };

function applicable(): readonly Fault[] {
  return faultsFor(SCENE).filter((fault): fault is Fault => !('skipped' in fault));
}

describe('the catalogue for the default lab', () => {
  it('has at least 12 faults, all of them applicable but that of Calico, each with its own id', () => {
    const all = faultsFor(SCENE);
    const skipped = all.filter((fault) => 'skipped' in fault).map(({ id }) => id);
    expect(skipped).toEqual(['pod-gateway-missing']);
    expect(all.length).toBeGreaterThanOrEqual(12);
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  });

  it.each(applicable().map((fault) => [fault.id, fault] as const))('%s is complete', (_, fault) => {
    const ids = CELLS.map(({ id }) => id);
    const machines = ['kubectl', ...PLAN.machines.map(({ name }) => name)];
    expect(fault.cells.filter((id) => !ids.includes(id))).toEqual([]);
    expect(fault.cells.length).toBeGreaterThan(0);
    expect(fault.expect.length).toBeGreaterThan(0);
    expect(fault.revert.length).toBeGreaterThan(0);
    const actions = [...fault.inject, ...fault.revert, ...(fault.effective ?? [])];
    expect(actions.filter(({ on }) => !machines.includes(on))).toEqual([]);
    // What is broken on a machine is undone on that machine.
    const undone = fault.revert.map(({ on }) => on);
    expect(fault.inject.filter(({ on }) => !undone.includes(on))).toEqual([]);
    // A cell that must turn red is one that is tried.
    const red = fault.expect.filter(({ kind }) => kind === 'cell').map(({ id }) => id);
    expect(red.filter((id) => !fault.cells.includes(id))).toEqual([]);
  });

  it('has a cell that must stay right wherever a cell must turn red', () => {
    for (const { expect: reds, alsoRed, cells } of applicable()) {
      const patterns = [...reds.map(({ id }) => id), ...alsoRed];
      if (reds.some(({ kind }) => kind === 'cell'))
        expect(cells.some((id) => !patterns.some((pattern) => globMatches(pattern, id)))).toBe(true);
    }
  });

  it('marks every rule that it makes', () => {
    const rules = applicable()
      .flatMap(({ inject }) => inject)
      .filter(({ argv }) => argv[0] === 'iptables' && argv.includes('-I'));
    expect(rules.length).toBeGreaterThan(5);
    expect(rules.filter(({ argv }) => !argv.includes(MARK))).toEqual([]);
  });
});

it('the way of a node port starts at the client without routes', () => {
  const [way] = nodePortWays(SCENE, 'tcp');
  expect(way).toMatchObject({ node: 'k8sworker1', clientAddress: '192.168.13.104', podPort: 1234 });
});

describe('a lab that is too small', () => {
  it('is not broken by faults that it cannot show', () => {
    const state = endpointsOf({ ready: ['echo-server1', 'echo-client1'] });
    const faults = faultsFor({ plan: PLAN, state, cells: buildCells(PLAN, state) });
    const skipped = faults.flatMap((fault) => ('skipped' in fault ? [fault.id] : []));
    expect(skipped).toEqual(
      expect.arrayContaining(['drop-rule', 'missing-next-hop', 'unready-pod', 'stale-conntrack']),
    );
    expect(faults.length - skipped.length).toBeGreaterThan(3);
  });
});

describe("a node's route to Calico's gateway", () => {
  const plan = { ...PLAN, choices: { ...PLAN.choices, cni: { value: 'calico' as const, why: 'test' } } };
  const faultWith = (...prefixes: readonly string[]) => {
    const machines = [...STATE.machines].map(([name, machine]): [string, typeof machine] => {
      const own = prefixes.map((prefix) => ({
        prefix,
        type: 'unicast' as const,
        protocol: 'boot',
        metric: 0,
        source: '192.168.13.35',
        hops: [{ interface: 'lab7' }],
      }));
      return [name, { ...machine, routes: [...machine.routes, ...own] }];
    });
    const state = { ...STATE, machines: new Map(machines) };
    return faultsFor({ plan, state, cells: buildCells(plan, state) }).find(
      ({ id }) => id === 'pod-gateway-missing',
    );
  };

  it('is taken away and put back as it was', () => {
    expect(faultWith('169.254.1.1/32')).toMatchObject({
      inject: [{ on: 'k8sworker1', argv: ['ip', 'route', 'del', '169.254.1.1/32'] }],
      revert: [
        {
          on: 'k8sworker1',
          argv: [
            ...['ip', 'route', 'replace', '169.254.1.1/32', 'dev', 'lab7', 'scope', 'link'],
            ...['src', '192.168.13.35'],
          ],
        },
      ],
    });
  });

  it('is left alone where a default route would take its place', () => {
    expect(faultWith('169.254.1.1/32', '0.0.0.0/0')).toMatchObject({
      skipped: 'the default route of the nodes does the same',
    });
  });
});
