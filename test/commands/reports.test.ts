import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabState } from '../../scripts/commands/state.ts';
import {
  KEPT_RUNS,
  knownCells,
  partialRunsSince,
  runFile,
  saveEvidence,
  saveReports,
} from '../../scripts/commands/test/reports.ts';
import { EXIT } from '../../scripts/shared/errors.ts';
import { CELLS, NEGATIVE, POSITIVE, runOf, TIMEOUT } from '../report/fixtures.ts';

let root: string;
let state: LabState;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lab-kept-'));
  state = new LabState(root, 'x');
});
afterEach(() => rmSync(root, { recursive: true }));

const names = (folder = 'reports') => readdirSync(state.path(folder)).filter((name) => name !== 'evidence');
const at = (seconds: number) => new Date(Date.UTC(2026, 0, 2, 3, 0, seconds, 7));

/** A run of all cells, or of those with these ids. */
function run(seconds: number, ids?: readonly string[], failing?: string) {
  const cells = ids === undefined ? CELLS : CELLS.filter(({ id }) => ids.includes(id));
  const first = failing === undefined ? {} : { [failing]: TIMEOUT };
  const partial = ids === undefined ? {} : { chosenFrom: CELLS.length };
  return { run: { ...runOf({ cells, first }), ...partial, startedAt: at(seconds) }, planned: cells };
}

describe('what a run leaves', () => {
  it('is last.json, report.html and a dated file, for the whole matrix', async () => {
    await saveReports(state, run(1));
    expect(names()).toEqual(['2026-01-02T03-00-01.007Z.json', 'last.json', 'report.html']);
  });

  it('is a dated file alone, for chosen cells: what the whole run knew stays', async () => {
    await saveReports(state, run(1));
    const before = ['last.json', 'report.html'].map((name) =>
      readFileSync(state.path('reports', name), 'utf8'),
    );
    const report = await saveReports(state, run(2, [POSITIVE], POSITIVE));
    expect(report).toMatchObject({ chosenFrom: CELLS.length, summary: { planned: 1, failed: 1 } });
    expect(names()).toContain('2026-01-02T03-00-02.007Z-partial.json');
    expect(
      ['last.json', 'report.html'].map((name) => readFileSync(state.path('reports', name), 'utf8')),
    ).toEqual(before);
  });

  it('is no dated file where nobody will ask for it', async () => {
    await saveReports(state, run(1), { undated: true });
    expect(names()).toEqual(['last.json', 'report.html']);
    await saveReports(state, run(2, [POSITIVE]), { undated: true });
    expect(names()).toEqual(['last.json', 'report.html']);
  });
});

describe('what is known of a cell', () => {
  it('is nothing before the first run', async () => {
    expect(await knownCells(state)).toEqual(new Map());
  });

  it('is what the newest run saw that tried it', async () => {
    await saveReports(state, run(1, [NEGATIVE], NEGATIVE));
    await saveReports(state, run(2));
    await saveReports(state, run(3, [POSITIVE], POSITIVE));
    const known = await knownCells(state);
    expect(known.size).toBe(CELLS.length);
    // The run of chosen cells before the whole one is outdated.
    expect(known.get(NEGATIVE)).toMatchObject({ startedAt: at(2).toISOString() });
    expect(known.get(POSITIVE)).toMatchObject({
      startedAt: at(3).toISOString(),
      result: { verdict: 'failed' },
    });
    await saveReports(state, run(4, [POSITIVE]));
    expect((await knownCells(state)).get(POSITIVE)).toMatchObject({ result: { verdict: 'passed' } });
  });

  it('is what runs of chosen cells saw, where there was no other', async () => {
    await saveReports(state, run(1, [POSITIVE]));
    expect([...(await knownCells(state)).keys()]).toEqual([POSITIVE]);
  });

  it('is refused where a report is damaged', async () => {
    await saveReports(state, run(1));
    await state.write(runFile(at(2), 'partial'), '{}');
    await expect(knownCells(state)).rejects.toMatchObject({ exitCode: EXIT.userMustAct });
  });
});

describe('old runs', () => {
  it('go, and chosen cells do not push out whole runs', async () => {
    await saveReports(state, run(0));
    await saveReports(state, run(1));
    for (let second = 2; second < KEPT_RUNS + 5; second++)
      await state.write(runFile(at(second), 'partial'), '{}');
    await saveReports(state, run(KEPT_RUNS + 5, [POSITIVE]));
    expect(await partialRunsSince(state, undefined)).toHaveLength(KEPT_RUNS);
    expect(await partialRunsSince(state, at(KEPT_RUNS + 4))).toEqual([runFile(at(KEPT_RUNS + 5), 'partial')]);
    expect(names()).toEqual(
      expect.arrayContaining([0, 1].map((second) => runFile(at(second), 'whole').slice(8))),
    );
    for (let second = 2; second <= KEPT_RUNS; second++) await state.write(runFile(at(second), 'whole'), '{}');
    await saveReports(state, run(KEPT_RUNS + 6));
    const whole = names().filter((name) => name.endsWith('Z.json'));
    expect(whole).toHaveLength(KEPT_RUNS);
    expect(whole[0]).toBe(runFile(at(2), 'whole').slice('reports/'.length));
  });

  it('take their evidence with them, unless it is of one of the newest runs', async () => {
    await saveReports(state, run(0));
    for (let second = 0; second < KEPT_RUNS + 5; second++) {
      const path = await saveEvidence(state, at(second), 'a_b.json', 'seen');
      expect(readFileSync(path, 'utf8')).toBe('seen');
      await saveEvidence(state, at(second), 'c_d.json', 'seen');
    }
    const kept = names('reports/evidence');
    // Two files of each of the newest runs, and those of the run whose report is there.
    expect(kept).toHaveLength(2 * KEPT_RUNS + 2);
    expect(kept.slice(0, 3).map((name) => name.slice(17, 24))).toEqual(['00.007Z', '00.007Z', '05.007Z']);
  });

  it('are told by the names that runs have: other files stay', async () => {
    await saveReports(state, run(0));
    const others = ['notes.json', '2020-01-01.json', '2020-01-01T00-00-00.000Z.json.bak'];
    for (const name of others) writeFileSync(state.path('reports', name), 'mine');
    for (const name of others) writeFileSync(state.path('reports/evidence', name), 'mine');
    for (let second = 1; second < KEPT_RUNS + 3; second++) {
      await state.write(runFile(at(second), 'whole'), '{}');
      await saveEvidence(state, at(second), 'a_b.json', 'seen');
    }
    expect(names()).toEqual(expect.arrayContaining(others));
    expect(names('reports/evidence')).toEqual(expect.arrayContaining(others));
  });
});
