import { describe, expect, it } from 'vitest';
import { selftestCode, selftestJson, selftestLines } from '../../scripts/cli/test-text.ts';
import type { SelftestResult } from '../../scripts/commands/selftest/selftest.ts';
import type { FaultResult } from '../../scripts/selftest/run.ts';

const fault = (verdict: FaultResult['verdict']): FaultResult => ({
  id: 'drop',
  title: 'a rule drops',
  verdict,
  text: 'a sentence',
  ms: 1000,
});
function resultOf(
  verdicts: readonly FaultResult['verdict'][],
  differs: readonly string[] = [],
): SelftestResult {
  return { lab: 'x', startedAt: new Date(0), durationMs: 2000, faults: verdicts.map(fault), differs };
}

describe('a selftest', () => {
  it.each<[string, SelftestResult, number]>([
    ['in which every fault was found', resultOf(['found', 'skipped']), 0],
    ['in which one was not', resultOf(['found', 'missed']), 1],
    ['in which none was tried', resultOf(['skipped']), 1],
    ['that left something behind', resultOf(['found'], ['w1 route, new: a']), 1],
  ])('%s ends with its exit code', (_, result, code) => {
    expect(selftestCode(result)).toBe(code);
  });

  it('says what it left behind, in its text and its document', () => {
    const result = resultOf(['found'], ['w1 route, new: a']);
    expect(selftestLines(result, 80).join('\n')).toContain(
      'The lab is not as it was before the selftest:\n    w1 route, new: a\n    next: npx labtest, npx labup --yes',
    );
    expect(selftestJson(result)).toMatchObject({ differs: ['w1 route, new: a'] });
    expect(selftestLines(resultOf(['found']), 80).join('\n')).not.toContain('not as it was');
  });
});
