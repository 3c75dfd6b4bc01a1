import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { checkFullSize } from '../../scripts/matrix/full-size.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import { testCells } from '../../scripts/matrix/test-cells.ts';
import type { Cell, CellResult, FullSize } from '../../scripts/matrix/types.ts';
import { describeCheck } from '../../scripts/report/check-text.ts';
import { endpointsOf, fakeProbeSource, lineOf, planOf, rightly } from './fixtures.ts';

const PLAN = planOf();
const STATE = endpointsOf();
const CELLS = buildCells(PLAN, STATE).filter(({ expected }) => expected.outcome === 'ok');
const WHOLE: FullSize = { bytes: 65536, lost: null, detail: null };
const LOST: FullSize = { bytes: 65536, lost: 'there', detail: 'of 65536 bytes 0 arrived' };
const RESULTS = CELLS.map(
  (cell): CellResult => ({ cell, observed: rightly(cell), verdict: 'passed', finding: null }),
);

/** The check where the ways that are chosen lose full-size packets. */
function checkWhere(isLost: (cell: Cell) => boolean, state = STATE, results = RESULTS) {
  const sizes = new Map(CELLS.map((cell) => [cell.id, isLost(cell) ? LOST : WHOLE]));
  return checkFullSize(PLAN, state, results, sizes).map((check) => ({
    ...check,
    observed: describeCheck(check).observed,
  }));
}

/** The state with links of 1500 bytes, but for one machine's. */
function withLink(name: string, mtu: number): ObservedState {
  const machines = [...STATE.machines].map(([key, machine]): [string, typeof machine] => [
    key,
    {
      ...machine,
      interfaces: machine.interfaces.map((each) => ({ ...each, mtu: key === name ? mtu : 1500 })),
    },
  ]);
  return { ...STATE, machines: new Map(machines) };
}

const passesOn = (machine: string) => (cell: Cell) =>
  cell.from !== machine && cell.expected.chain.some(({ at }) => at === machine);

describe('checkFullSize', () => {
  it('is content where all paths carry them', () => {
    expect(checkWhere(() => false)).toMatchObject([
      {
        id: 'full-size',
        verdict: 'passed',
        reason: 'as-wanted',
        observed: `all ${CELLS.length} paths carry them`,
      },
    ]);
  });

  it('is one finding that names the router, whose link is smaller', () => {
    const isLost = passesOn('bgp');
    const count = CELLS.filter(isLost).length;
    expect(count).toBeGreaterThan(5);
    const [check, ...others] = checkWhere(isLost, withLink('bgp', 1280));
    expect(others).toEqual([]);
    expect(check).toMatchObject({ verdict: 'failed', reason: 'small-link' });
    expect(check?.observed).toBe(
      `${count} of ${CELLS.length} paths lose packets of full size at bgp (its eth0 takes packets of 1280 bytes, other machines' links 1500, and the senders are not told), e.g. routed>pod/echo-server1:1234/tcp: of 65536 bytes 0 arrived`,
    );
  });

  it('names the machine that all of them lead over where no link is smaller', () => {
    const [check] = checkWhere(passesOn('bgp'));
    expect(check?.observed).toMatch(/^\d+ of \d+ paths lose packets of full size at bgp, e\.g\. routed>/);
  });

  it('names two machines where there are two holes', () => {
    const isNodePort = ({ kind, node, from }: Cell) =>
      kind === 'node-port' && node === 'k8sworker2' && from === 'ubuntu';
    const [check] = checkWhere((cell) => passesOn('bgp')(cell) || isNodePort(cell), withLink('bgp', 1280));
    expect(check?.observed).toMatch(
      /full size at bgp \(.*; \d of \d+ paths lose packets of full size on the path over ubuntu, k8sworker2, /,
    );
  });

  it('says nothing of connections that did not come about', () => {
    const failed = RESULTS.map((result): CellResult => ({ ...result, verdict: 'failed' }));
    expect(checkWhere(() => true, STATE, failed)).toEqual([]);
    expect(checkFullSize(PLAN, STATE, RESULTS, new Map())).toEqual([]);
  });
});

describe('testCells', () => {
  const cells = CELLS.filter(({ from }) => from === 'routed').slice(0, 2);
  const [lossy] = cells;

  async function sizesOf(isLost: (call: number) => boolean) {
    const routed = fakeProbeSource('routed', cells, (cell, call) =>
      lineOf(cell, { fullSize: cell.id === lossy?.id && isLost(call) ? LOST : WHOLE }),
    );
    const { results, sizes } = await testCells(cells, new Map([['routed', routed]]));
    expect(results.map(({ verdict }) => verdict)).toEqual(['passed', 'passed']);
    const asked = routed.inputs.map((input) => (JSON.parse(input) as { cells: object[] }).cells);
    return { lost: [...sizes].filter(([, { lost }]) => lost !== null).map(([id]) => id), asked };
  }

  it('asks for full-size packets, and once more where they got lost', async () => {
    const { lost, asked } = await sizesOf(() => true);
    expect(lost).toEqual([lossy?.id]);
    expect(asked).toMatchObject([
      [{ fullSize: true }, { fullSize: true }],
      [{ id: lossy?.id, fullSize: true }],
    ]);
  });

  it('believes the second try', async () => {
    expect((await sizesOf((call) => call === 1)).lost).toEqual([]);
  });
});
