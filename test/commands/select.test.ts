import { describe, expect, it } from 'vitest';
import { both, cellsWithIds, controlled, onlyCells } from '../../scripts/commands/test/select.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { endpointsOf, planOf } from '../matrix/fixtures.ts';

const matrix = buildCells(planOf(), endpointsOf());
const EXTERNAL = 'ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp';

describe('cells that were chosen', () => {
  it('are exactly those where nothing is tried', () => {
    expect(onlyCells([`${EXTERNAL}*`])(matrix).map(({ id }) => id)).toEqual([EXTERNAL]);
    expect(onlyCells()(matrix)).toBe(matrix);
  });

  it('have their positive controls beside them where they are tried', () => {
    const chosen = controlled(onlyCells([`${EXTERNAL}*`]))(matrix);
    expect(chosen.map(({ id, controlOf }) => [id, controlOf])).toEqual([
      ['ubuntu>echo-lb-tcp/k8sworker1:32153/tcp', [EXTERNAL]],
      [EXTERNAL, undefined],
    ]);
  });

  it('take their controls from the whole matrix, also where they were chosen in two ways', () => {
    const select = controlled(both(onlyCells(['ubuntu']), cellsWithIds([EXTERNAL, 'bgp>gone:1/tcp'])));
    expect(select(matrix).map(({ id }) => id)).toEqual(['ubuntu>echo-lb-tcp/k8sworker1:32153/tcp', EXTERNAL]);
  });

  it('are the whole matrix as it is where nothing was chosen', () => {
    expect(controlled(onlyCells())(matrix)).toEqual(matrix);
  });
});
