import { describe, expect, it } from 'vitest';
import { diffReports, renderDiff } from '../../scripts/report/diff.ts';
import { buildReport, parseReport, reportText } from '../../scripts/report/json.ts';
import { EXIT, UserError } from '../../scripts/shared/errors.ts';
import { CELLS, CHECKS, NEGATIVE, POSITIVE, runOf, TIMEOUT, wrongly } from './fixtures.ts';
import { HEALTHY, TROUBLED } from './samples.ts';

const healthy = buildReport(runOf());
const broken = buildReport(
  runOf({
    first: { [POSITIVE]: TIMEOUT },
    checks: CHECKS.map((check, index) => (index === 1 ? wrongly(check, 'no-answer', 'no answer') : check)),
  }),
);

describe('diffReports', () => {
  it('finds nothing between a report and itself', () => {
    const diff = diffReports(broken, broken);
    expect(diff).toMatchObject({ newFailures: [], fixed: [], changedExpectation: [], unchanged: 248 });
    expect(renderDiff(diff, { color: false })).toBe('No difference: 248 cells are as they were.\n');
  });

  it('tells new failures from fixed ones, for cells and checks', () => {
    const worse = diffReports(healthy, broken);
    expect(worse.newFailures.map(({ id }) => id)).toEqual([POSITIVE]);
    expect(worse.checks.newFailures.map(({ id }) => id)).toEqual(['bgp.route.bgp.kernel.2.2.2.2/32']);
    expect(worse.unchanged).toBe(247);
    const better = diffReports(broken, healthy);
    expect(better.newFailures).toEqual([]);
    expect(better.fixed.map(({ id }) => id)).toEqual([POSITIVE]);
    expect(better.checks.fixed).toHaveLength(1);
  });

  it('does not call a flaky cell broken, but says that it changed', () => {
    const flaky = buildReport(runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: {} } }));
    expect(diffReports(healthy, flaky)).toMatchObject({ newFailures: [], otherVerdict: [{ id: POSITIVE }] });
  });

  it('tells what is wrong for another reason', () => {
    const refused = buildReport(
      runOf({
        first: { [POSITIVE]: { ...TIMEOUT, outcome: 'refused' } },
        checks: CHECKS.map((check, index) =>
          index === 1 ? wrongly(check, 'not-read', 'connection lost') : check,
        ),
      }),
    );
    const diff = diffReports(broken, refused);
    expect(diff).toMatchObject({
      newFailures: [],
      otherVerdict: [],
      otherReason: [{ id: POSITIVE }],
      checks: { newFailures: [], otherReason: [{ id: 'bgp.route.bgp.kernel.2.2.2.2/32' }] },
      unchanged: 247,
    });
    expect(renderDiff(diff, { color: false })).toContain('Wrong for another reason: 1\n');
  });

  it('shows what is expected now and was not before, whatever became of it', () => {
    const [first, ...rest] = CELLS;
    if (first === undefined) throw new Error('no cells');
    const scaled = {
      ...first,
      expected: { ...first.expected, outcome: 'refused' as const, servers: [], clients: [] },
    };
    const diff = diffReports(healthy, buildReport(runOf({ cells: [scaled, ...rest] })));
    expect(diff.changedExpectation.map(({ id }) => id)).toEqual([first.id]);
    expect(diff.newFailures).toEqual([]);
    const swapped = { ...healthy, cells: [...healthy.cells].reverse() };
    expect(diffReports(healthy, swapped).unchanged).toBe(248);
  });

  it('does not call what was not chosen gone or new', () => {
    const chosen = buildReport({
      ...runOf({ cells: CELLS.filter(({ id }) => [NEGATIVE, POSITIVE].includes(id)) }),
      chosenFrom: CELLS.length,
    });
    const less = diffReports(healthy, chosen);
    expect(less).toMatchObject({ onlyBefore: [], onlyAfter: [], unchanged: 2 });
    expect(renderDiff(less, { color: false })).toBe(
      'No difference: 2 cells are as they were. 246 were not chosen this time.\n',
    );
    const more = diffReports(chosen, healthy);
    expect(more).toMatchObject({ onlyBefore: [], onlyAfter: [] });
    expect(renderDiff(more, { color: false })).toContain('246 were not chosen before.');
    // Of the same choice a cell can be gone.
    const none = { ...chosen, cells: [] };
    expect(diffReports(chosen, none).onlyBefore.map(({ id }) => id)).toEqual([NEGATIVE, POSITIVE]);
  });

  it('lists what only one of them has', () => {
    const fewer = buildReport(runOf({ cells: CELLS.filter(({ id }) => id !== NEGATIVE), checks: [] }));
    expect(diffReports(healthy, fewer).onlyBefore.map(({ id }) => id)).toEqual([NEGATIVE]);
    expect(diffReports(fewer, healthy).onlyAfter.map(({ id }) => id)).toEqual([NEGATIVE]);
    expect(diffReports(fewer, healthy).checks.onlyAfter).toHaveLength(3);
  });
});

describe('renderDiff', () => {
  it('says what is new, in words', () => {
    expect(renderDiff(diffReports(healthy, broken), { color: false })).toMatchInlineSnapshot(`
      "New failures: 1
        ubuntu>echo-np-tcp/k8sworker1:31234/tcp: passed -> failed
          expected: ok from 10.255.0.74, seen as 192.168.13.104
          observed: timeout: no answer to the connection request within 1500 ms

      Newly failing checks: 1
        bgp kernel: 2.2.2.2/32: passed -> failed
          observed: no answer

      247 cells are as they were.
      "
    `);
  });

  it.each([60, 80, 100])('fits %i columns', (width) => {
    const diff = diffReports(buildReport(TROUBLED), { ...buildReport(HEALTHY), lab: 'another' });
    const text = renderDiff(diff, { color: false, width });
    expect(text).toContain('These are two labs: bgp-lab and another.');
    expect(text.split('\n').filter((line) => line.length > width)).toEqual([]);
  });
});

describe('parseReport', () => {
  const error = (text: string): UserError => {
    try {
      parseReport(text, 'old.json');
    } catch (caught) {
      if (caught instanceof UserError) return caught;
      throw caught;
    }
    throw new Error('it was accepted');
  };

  it('reads what labtest --json printed, with and without the optional parts', () => {
    for (const report of [healthy, buildReport(TROUBLED)])
      expect(parseReport(reportText(report), 'old.json')).toEqual(report);
  });

  it.each([
    ['', 'it is empty'],
    ['{"schemaVersion": 1,', 'it is not JSON'],
    ['[1]', 'it does not hold one JSON object'],
    ['{}', 'it has no schemaVersion'],
    ['{"schemaVersion": 1}', 'its schemaVersion is 1, and only 2 is known'],
    ['{"schemaVersion": 2}', 'fields are wrong'],
  ])('%s: %s', (text, message) => {
    expect(error(text).message).toContain('old.json is not a report of labtest: ');
    expect(error(text).message).toContain(message);
    expect(error(text).exitCode).toBe(EXIT.userMustAct);
  });

  it('names the fields that are wrong, and not all of very many', () => {
    const cells = healthy.cells.map((cell) => ({ ...cell, verdict: 'good' }));
    const { details } = error(JSON.stringify({ ...healthy, cells }));
    expect(details[0]).toMatch(/^cells\.0\.verdict: /);
    expect(details).toHaveLength(6);
    expect(details.at(-1)).toBe('and 243 more');
  });

  it('refuses a report that has a cell twice', () => {
    const twice = { ...healthy, cells: [...healthy.cells, ...healthy.cells.slice(0, 1)] };
    expect(error(JSON.stringify(twice)).message).toContain('is in it twice');
  });
});
