import { describe, expect, it } from 'vitest';
import type { ExpectedRed, Fault } from '../../scripts/selftest/fault.ts';
import { holds, judgeFault, redsOf } from '../../scripts/selftest/judge.ts';
import { parsePending, pendingText } from '../../scripts/selftest/pending.ts';
import { globMatches } from '../../scripts/shared/glob.ts';
import { CHECKS, POSITIVE, runOf, TIMEOUT } from '../report/fixtures.ts';

const EXPECTED: ExpectedRed = {
  kind: 'cell',
  id: POSITIVE,
  verdict: 'failed',
  outcome: 'timeout',
  finding: { reason: 'other-outcome' },
};
const FAULT: Fault = {
  id: 'drop',
  title: 'a rule drops packets',
  moment: 'before',
  inject: [],
  revert: [{ on: 'k8sworker1', argv: ['true'] }],
  cells: [POSITIVE],
  expect: [EXPECTED],
  alsoRed: [],
};
const RED = runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: TIMEOUT } });

describe('judgeFault', () => {
  it('finds a fault where the right cell is red for the right reason', () => {
    expect(judgeFault(FAULT, RED)).toEqual({
      found: true,
      text: `${POSITIVE}: timeout, no answer to the connection request within 1500 ms`,
    });
  });

  it.each([
    ['nothing is red', FAULT, runOf(), /did not turn red/],
    [
      'the outcome is another one',
      { ...FAULT, expect: [{ ...EXPECTED, outcome: 'refused' as const }] },
      RED,
      /says "timeout, .*", which is not failed with {"outcome":"refused"/,
    ],
    [
      'the verdict is another one',
      { ...FAULT, expect: FAULT.expect.map((each) => ({ ...each, verdict: 'harness' as const })) },
      RED,
      /is failed and says/,
    ],
    [
      'it is only right at the second try',
      FAULT,
      runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: {} } }),
      /is flaky and says/,
    ],
    [
      'a check is red as well',
      FAULT,
      { ...RED, checks: CHECKS.map((check) => ({ ...check, verdict: 'failed' as const })) },
      /turned red what it cannot have broken: bgp\.session/,
    ],
  ])('does not where %s', (_, fault, run, text) => {
    expect(judgeFault(fault, run)).toMatchObject({ found: false, text: expect.stringMatching(text) });
  });

  it('asks for what was seen when it was tried again', () => {
    const difference = { reason: 'nothing-seen', at: 'k8sworker1' } as const;
    const cells = RED.cells.map((result) =>
      result.cell.id === POSITIVE ? { ...result, evidence: { difference, hops: [] } } : result,
    );
    const found = (at: string) =>
      judgeFault(
        { ...FAULT, expect: [{ ...EXPECTED, difference: { reason: 'nothing-seen', at } }] },
        { ...RED, cells },
      ).found;
    expect([found('k8sworker1'), found('k8sworker2')]).toEqual([true, false]);
  });

  it('lets what is allowed be red', () => {
    const run = { ...RED, checks: CHECKS.map((check) => ({ ...check, verdict: 'blocked' as const })) };
    expect(judgeFault({ ...FAULT, alsoRed: ['bgp.*', 'dns.*'] }, run)).toMatchObject({ found: true });
  });
});

it('a run that is right has nothing red', () => {
  expect(redsOf(runOf())).toEqual([]);
});

it.each([
  ['a*', 'abc', true],
  ['a*', 'cab', false],
  ['*>b/1.2', 'x>b/1.2', true],
  ['*>b/1.2', 'x>b/1x2', false],
  ['a+b', 'aab', false],
])('%s on %s: %s', (pattern, text, matches) => {
  expect(globMatches(pattern, text)).toBe(matches);
});

it.each([
  [{ a: 1 }, { a: 1, b: 2 }, true],
  [{ a: 1 }, { a: '1' }, false],
  [{ a: [{ b: 'x' }] }, { a: [{ b: 'y' }, { b: 'x', c: 1 }] }, true],
  [{ a: ['x', 'z'] }, { a: ['x', 'y'] }, false],
  [{ a: /^Idle/ }, { a: 'Idle (Admin)' }, true],
  [{ a: null }, { a: {} }, false],
  [{ a: { b: 1 } }, { a: null }, false],
])('%j in %j: %s', (pattern, value, is) => {
  expect(holds(pattern, value)).toBe(is);
});

describe('what is to be undone', () => {
  it('is read back as it was written', () => {
    const { title, revert } = FAULT;
    expect(parsePending(pendingText({ by: 'selftest', title, revert }))).toEqual({
      by: 'selftest',
      title,
      revert,
    });
  });

  it.each(['', '{', '{"fault": 1}'])('is an error of its own where it is damaged: %s', (text) => {
    expect(() => parsePending(text)).toThrow('A selftest or scenario was ended in its middle');
  });
});
