import { describe, expect, it } from 'vitest';
import { exitCodeOf, summarize, summarizeChecks } from '../../scripts/report/run.ts';
import { HarnessError } from '../../scripts/shared/errors.ts';
import { CELLS, CHECKS, NEGATIVE, POSITIVE, runOf, TIMEOUT } from './fixtures.ts';

const [firstCheck] = CHECKS;

describe('summarize', () => {
  it('counts every cell exactly once', () => {
    const run = runOf({
      first: { [POSITIVE]: TIMEOUT, [NEGATIVE]: { outcome: 'refused' } },
      second: { [POSITIVE]: {}, [NEGATIVE]: { outcome: 'refused' } },
      broken: ['bgp'],
    });
    const { planned, ...verdicts } = summarize(run, CELLS);
    expect(planned).toBe(248);
    expect(verdicts).toEqual({ passed: 215, failed: 1, flaky: 1, blocked: 0, skipped: 0, harness: 31 });
    expect(Object.values(verdicts).reduce((sum, each) => sum + each, 0)).toBe(planned);
  });

  it('refuses a missing result', () => {
    const run = runOf();
    expect(() => summarize({ ...run, cells: run.cells.slice(1) }, CELLS)).toThrow('1 have no result');
  });

  it('refuses two results for one cell', () => {
    const run = runOf();
    expect(() => summarize({ ...run, cells: [...run.cells, ...run.cells.slice(0, 1)] }, CELLS)).toThrow(
      HarnessError,
    );
  });

  it('refuses a result that nobody planned', () => {
    expect(() => summarize(runOf(), CELLS.slice(1))).toThrow('1 were never planned');
  });

  it('refuses two checks with one id', () => {
    expect(() => summarize(runOf({ checks: [...CHECKS, ...CHECKS] }))).toThrow('checks with the same id');
  });

  it('counts checks apart', () => {
    expect(summarizeChecks(runOf())).toEqual({ passed: 3, failed: 0, blocked: 0, skipped: 0, harness: 0 });
  });
});

describe('exitCodeOf', () => {
  const failedCheck = firstCheck === undefined ? [] : [{ ...firstCheck, verdict: 'failed' as const }];
  const brokenCheck = firstCheck === undefined ? [] : [{ ...firstCheck, verdict: 'harness' as const }];
  const flaky = { first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: {} } };
  const skippedCheck = firstCheck === undefined ? [] : [{ ...firstCheck, verdict: 'skipped' as const }];
  const skipped = { cells: CELLS.map((cell) => (cell.id === POSITIVE ? { ...cell, skipped: 'x' } : cell)) };
  const skippedPod = {
    cells: CELLS.map((cell) =>
      cell.id === 'routed>pod/echo-server1:1234/tcp' ? { ...cell, skipped: 'x' } : cell,
    ),
  };
  const blocked = CELLS.map((cell) => (cell.from === 'bgp' ? { ...cell, blockedBy: 'x' } : cell));
  const allNegative = CELLS.filter(({ id }) => id === NEGATIVE);

  it.each([
    ['everything passed', {}, false, 0],
    ['a failed cell', { first: { [POSITIVE]: TIMEOUT } }, false, 1],
    ['a failed check', { checks: failedCheck }, false, 1],
    ['a source that could not be probed', { broken: ['ubuntu'] }, false, 4],
    ['a check that could not be made', { checks: brokenCheck }, false, 4],
    ['something wrong and something unknown', { checks: failedCheck, broken: ['ubuntu'] }, false, 1],
    ['a flaky cell', flaky, false, 0],
    ['a flaky cell, strictly', flaky, true, 3],
    ['a cell of a service that is not modelled', skipped, false, 3],
    ['another cell that is not modelled', skippedPod, false, 0],
    ['a skipped cell, strictly', skippedPod, true, 3],
    ['a skipped check, strictly', { checks: skippedCheck }, true, 3],
    ['a blocked cell', { cells: blocked }, false, 1],
    ['no cells at all', { cells: [] }, false, 4],
    ['no cells and no checks', { cells: [], checks: [] }, true, 4],
    ['only a failure that nothing controls', { cells: allNegative }, false, 4],
    ['no source that could be probed', { broken: [...new Set(CELLS.map(({ from }) => from))] }, false, 4],
  ])('of %s', (_, change, strict, code) => {
    expect(exitCodeOf(runOf(change), { strict })).toBe(code);
  });

  it('of an aborted run is 4, or 1 where something is wrong for certain', () => {
    expect(exitCodeOf({ ...runOf(), aborted: 'interrupted' })).toBe(4);
    expect(exitCodeOf({ ...runOf({ first: { [POSITIVE]: TIMEOUT } }), aborted: 'interrupted' })).toBe(1);
  });
});
