import { describe, expect, it } from 'vitest';
import { cellCauses, checkCauses, reasonCauses } from '../../scripts/report/causes.ts';
import { conclusionOf } from '../../scripts/report/run.ts';
import { describeCells } from '../../scripts/report/words.ts';
import { planOf } from '../matrix/fixtures.ts';
import { CELLS, CHECKS, POSITIVE, runOf, TIMEOUT, wrongly } from './fixtures.ts';
import { EVIDENCE, HEALTHY, sessionChecks, TROUBLED, WRONG_SOURCE } from './samples.ts';

const sizes = (causes: readonly { readonly members: readonly unknown[] }[]) =>
  causes.map(({ members }) => members.length);

describe('causes', () => {
  it('puts cells together that differ only in names and addresses', () => {
    const causes = cellCauses(TROUBLED.cells, 'failed');
    expect(sizes(causes)).toEqual([8, 1, 2]);
    expect(causes[1]?.first.cell.id).toBe(WRONG_SOURCE);
  });

  it('loses no cell', () => {
    for (const verdict of ['failed', 'flaky'] as const)
      expect(sizes(cellCauses(TROUBLED.cells, verdict)).reduce((sum, size) => sum + size, 0)).toBe(
        TROUBLED.cells.filter((result) => result.verdict === verdict).length,
      );
  });

  it('tells a story by the cell that was watched, and keeps stories with different endings apart', () => {
    const nodePorts = CELLS.filter(
      ({ kind, from, expected }) => kind === 'node-port' && from === 'ubuntu' && expected.outcome === 'ok',
    );
    const { cells } = runOf({ first: Object.fromEntries(nodePorts.map(({ id }) => [id, TIMEOUT])) });
    expect(sizes(cellCauses(cells, 'failed'))).toEqual([nodePorts.length]);
    const watched = cells.map((result) =>
      result.cell.id === POSITIVE ? { ...result, evidence: EVIDENCE } : result,
    );
    const [one] = cellCauses(watched, 'failed');
    expect(one?.first.cell.id).toBe(POSITIVE);
    expect(one?.members).toHaveLength(nodePorts.length);
    const apart = cells.map((result, index) =>
      result.verdict === 'failed'
        ? {
            ...result,
            evidence: {
              ...EVIDENCE,
              difference: { reason: 'nothing-seen' as const, at: index % 2 === 0 ? 'a' : 'b' },
            },
          }
        : result,
    );
    expect(cellCauses(apart, 'failed')).toHaveLength(2);
  });

  it('takes a rule for one cause, by whatever interface packets met it and however often', () => {
    const red = CELLS.filter(({ expected }) => expected.outcome === 'ok').slice(0, 3);
    const { cells } = runOf({ first: Object.fromEntries(red.map(({ id }) => [id, TIMEOUT])) });
    const stoppedBy = (chain: string, moved: number) => ({
      reason: 'stopped' as const,
      at: 'k8sworker1',
      interface: `veth${moved}`,
      rule: { chain, rule: `-A ${chain} -j DROP`, target: 'DROP', comment: '', moved },
    });
    const watched = (chains: readonly string[]) =>
      cells.map((result) => {
        const index = red.findIndex(({ id }) => id === result.cell.id);
        const difference = stoppedBy(chains[index] ?? '', index);
        return index < 0 ? result : { ...result, evidence: { ...EVIDENCE, difference } };
      });
    expect(sizes(cellCauses(watched(['FORWARD', 'FORWARD', 'FORWARD']), 'failed'))).toEqual([3]);
    expect(sizes(cellCauses(watched(['FORWARD', 'INPUT', 'FORWARD']), 'failed'))).toEqual([2, 1]);
  });

  it('has one entry per reason for cells that nothing is known about', () => {
    const { cells } = runOf({ broken: ['routed', 'bgp'] });
    expect(sizes(reasonCauses(cells, 'harness'))).toEqual([62]);
  });

  it('puts checks of one kind together that failed for the same reason, and no others', () => {
    const failed = CHECKS.map((check) => wrongly(check, 'no-answer', 'no answer within 2000 ms'));
    expect(sizes(checkCauses(failed))).toEqual([1, 1, 1]);
    expect(sizes(checkCauses(sessionChecks(planOf(), ['bgp.session.bgp-k8sworker1'])))).toHaveLength(9);
    expect(sizes(checkCauses(TROUBLED.checks.filter(({ verdict }) => verdict === 'failed')))).toEqual([
      2, 7, 1,
    ]);
    expect(sizes(checkCauses(CHECKS))).toEqual([1, 1, 1]);
  });
});

describe('describeCells', () => {
  it('names sources with the same targets once', () => {
    const cells = CELLS.filter(({ from, kind }) => ['bgp', 'routed'].includes(from) && kind === 'cluster-ip');
    expect(describeCells(cells)).toEqual([
      'bgp, routed>echo-ci-tcp/cluster-ip:1234/tcp, echo-lb-tcp/cluster-ip:1234/tcp, echo-np-tcp/cluster-ip:1234/tcp, echo-server-udp/cluster-ip:5678/udp',
    ]);
  });
});

describe('the conclusion', () => {
  it.each([
    ['everything is as it should be', HEALTHY, true],
    ['wrong: 11 of 248 cells and 10 of 22 checks; 8 cells skipped', TROUBLED, false],
    ['the run was aborted', { ...runOf(), aborted: 'interrupted' }, false],
    ['nothing wrong was seen, but 31 could not be tested', runOf({ broken: ['bgp'] }), false],
    [
      '1 of 248 cells were right only at the second try',
      runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: {} } }),
      false,
    ],
    [
      'not everything was tested; 1 cell skipped; of 1 service it is not known whether it works',
      runOf({ cells: CELLS.map((cell) => (cell.id === POSITIVE ? { ...cell, skipped: 'x' } : cell)) }),
      false,
    ],
    ['nothing was planned, so nothing is known', runOf({ cells: [] }), false],
  ])('%s', (text, run, right) => {
    expect(conclusionOf(run)).toEqual({ right, text });
  });
});
