import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { findCells } from '../../scripts/matrix/explain.ts';
import { withControls } from '../../scripts/matrix/proof-control.ts';
import type { Cell } from '../../scripts/matrix/types.ts';
import { endpointsOf, planOf } from './fixtures.ts';

const matrix = buildCells(planOf(), endpointsOf());

/** The ids of what is tried when the cells of these patterns were asked for, with those that a control was added for. */
function tried(patterns: readonly string[], among: readonly Cell[] = matrix): Record<string, unknown> {
  const chosen = patterns.flatMap((pattern) => findCells(among, pattern));
  return Object.fromEntries(
    withControls(among, chosen).map(({ id, controlOf }) => [id, controlOf ?? 'asked for']),
  );
}

const EXTERNAL = 'ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp';
const POSITIVE = 'ubuntu>echo-lb-tcp/k8sworker1:32153/tcp';

describe('withControls', () => {
  it('adds one that gets through to one that must fail', () => {
    expect(tried([EXTERNAL])).toEqual({ [EXTERNAL]: 'asked for', [POSITIVE]: [EXTERNAL] });
  });

  it('adds one for all that must fail from a source, and one for each source', () => {
    const [ours, theirs] = ['ubuntu>pod/echo-server1:1234/tcp', 'k8sworker1>echo-lb-tcp/2.2.2.2:1234/tcp'];
    expect(tried([EXTERNAL, ours, theirs])).toEqual({
      [EXTERNAL]: 'asked for',
      [ours]: 'asked for',
      [theirs]: 'asked for',
      [POSITIVE]: [EXTERNAL, ours],
      'k8sworker1>pod/echo-server1:1234/tcp': [theirs],
    });
  });

  it('prefers one to the same host', () => {
    // Nothing else goes to the control plane's address from there and gets through.
    const cell = findCells(matrix, 'k8sworker1>echo-lb-tcp/k8smaster1:32153/tcp')[0];
    const near = findCells(matrix, 'k8sworker1>echo-np-tcp/k8sworker3:31234/tcp')[0];
    if (cell === undefined || near === undefined) throw new Error('no such cells');
    const moved = matrix.map((each) =>
      each.id === near.id ? { ...near, address: cell.address, node: cell.node ?? '' } : each,
    );
    expect(tried([cell.id], moved)).toEqual({ [cell.id]: 'asked for', [near.id]: [cell.id] });
  });

  it.each([
    ['what gets through', ['ubuntu>echo-np-tcp/k8sworker1:31234/tcp']],
    ['what fails beside something that gets through', ['ubuntu>echo-np-tcp']],
    ['the whole matrix', ['*']],
  ])('adds nothing to %s', (_, patterns) => {
    expect(new Set(Object.values(tried(patterns)))).toEqual(new Set(['asked for']));
  });

  it('adds one that another machine refuses where no server is ready', () => {
    const none = buildCells(planOf(), endpointsOf({ ready: ['echo-client1'] }));
    const refused = 'ubuntu>echo-lb-tcp/k8smaster1:32153/tcp';
    expect(tried([EXTERNAL], none)).toEqual({ [EXTERNAL]: 'asked for', [refused]: [EXTERNAL] });
    // Its own refusal shows nothing of the network.
    const own = 'k8sworker1>echo-lb-tcp/k8sworker1:32153/tcp';
    expect(Object.keys(tried([own], none)).filter((id) => id !== own)).toEqual([
      'k8sworker1>echo-lb-tcp/k8smaster1:32153/tcp',
    ]);
  });

  it('keeps the order of the matrix', () => {
    const ids = Object.keys(tried([EXTERNAL]));
    expect(ids).toEqual(matrix.map(({ id }) => id).filter((id) => ids.includes(id)));
  });

  it('takes one that is not blocked, and a blocked one only where all are', () => {
    const block = (cell: Cell): Cell => ({ ...cell, blockedBy: 'bgp.session.a-b' });
    const isPositive = ({ from, expected }: Cell) => from === 'ubuntu' && expected.outcome === 'ok';
    const first = matrix.map((cell) => (cell.id === POSITIVE ? block(cell) : cell));
    const all = matrix.map((cell) => (isPositive(cell) ? block(cell) : cell));
    expect(tried([EXTERNAL], first)).toHaveProperty(['ubuntu>echo-lb-tcp/k8sworker2:32153/tcp'], [EXTERNAL]);
    expect(tried([EXTERNAL], all)).toHaveProperty([POSITIVE], [EXTERNAL]);
    // One that was asked for does not help if it is blocked and another one is not.
    expect(tried([EXTERNAL, POSITIVE], first)).toMatchObject({
      'ubuntu>echo-lb-tcp/k8sworker2:32153/tcp': [EXTERNAL],
    });
  });

  it('asks for no control of what is not tried', () => {
    const skipped = matrix.map((cell) => (cell.id === EXTERNAL ? { ...cell, skipped: 'unknown' } : cell));
    expect(tried([EXTERNAL], skipped)).toEqual({ [EXTERNAL]: 'asked for' });
  });

  it('adds none where none gets through', () => {
    const none = matrix.filter(({ expected }) => expected.outcome !== 'ok');
    expect(tried([EXTERNAL], none)).toEqual({ [EXTERNAL]: 'asked for' });
  });
});
