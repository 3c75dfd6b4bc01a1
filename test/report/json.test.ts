import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeEvidence, describeProof } from '../../scripts/report/cell-text.ts';
import { buildReport, reportJsonSchema, reportSchema, reportText } from '../../scripts/report/json.ts';
import { packageRoot } from '../../scripts/shared/files.ts';
import { CELLS, NEGATIVE, POSITIVE, runOf, TIMEOUT } from './fixtures.ts';
import { EVIDENCE, TROUBLED } from './samples.ts';

const mixed = runOf({
  cells: CELLS.map((cell) => (cell.from === 'bgp' ? { ...cell, blockedBy: 'workloads.client-pod' } : cell)),
  first: { [POSITIVE]: TIMEOUT },
  broken: ['routed'],
});

describe('the JSON report', () => {
  it('is what the schema says, with every kind of verdict', () => {
    for (const run of [runOf(), mixed]) {
      const report = JSON.parse(reportText(buildReport(run, CELLS)));
      expect(reportSchema.parse(report)).toEqual(report);
    }
  });

  it('has the fields of the contract', () => {
    const report = buildReport(runOf(), CELLS);
    expect(Object.keys(report)).toEqual([
      'schemaVersion',
      'lab',
      'startedAt',
      'durationMs',
      'summary',
      'checks',
      'cells',
    ]);
    expect(report).toMatchObject({ lab: 'bgp-lab', startedAt: '2026-01-02T03:04:05.678Z', durationMs: 3210 });
    expect(report.cells.find(({ id }) => id === POSITIVE)).toEqual({
      id: POSITIVE,
      from: 'ubuntu',
      to: 'echo-np-tcp/k8sworker1',
      address: '192.168.13.35',
      port: 31234,
      protocol: 'tcp',
      expected: {
        outcome: 'ok',
        servers: ['10.255.0.74'],
        clients: ['192.168.13.104'],
        why: "With externalTrafficPolicy Local k8sworker1 answers from its own pod only and keeps the client's address.",
        chain: expect.arrayContaining([
          { at: 'ubuntu', layer: 'route', text: '192.168.13.35 is on-link: 192.168.13.0/24 dev eth0.' },
        ]),
      },
      observed: {
        outcome: 'ok',
        server: '10.255.0.74',
        client: '192.168.13.104',
        attempts: 1,
        connectMs: 0.5,
      },
      verdict: 'passed',
    });
  });

  it('says what was seen, or that nothing was', () => {
    const { cells } = buildReport(mixed, CELLS);
    const cellOf = (id: string) => cells.find((cell) => cell.id === id);
    expect(cellOf(POSITIVE)).toMatchObject({ verdict: 'failed', observed: { outcome: 'timeout' } });
    expect(cellOf('routed>echo-lb-tcp/2.2.2.2:1234/tcp')).toMatchObject({
      verdict: 'harness',
      observed: { outcome: 'harness-error' },
      finding: { reason: 'probe-failed', said: 'the probe could not be run: connection lost' },
      detail: 'the probe could not be run: connection lost',
    });
    expect(cellOf('bgp>echo-lb-tcp/2.2.2.2:1234/tcp')).toMatchObject({ verdict: 'blocked', observed: null });
  });

  it('has a summary that adds up, also for no cells', () => {
    for (const report of [buildReport(mixed, CELLS), buildReport(runOf({ cells: [] }), [])]) {
      const { planned, ...rest } = report.summary;
      expect(Object.values(rest).reduce((sum, each) => sum + each, 0)).toBe(planned);
      expect(planned).toBe(report.cells.length);
    }
  });

  it('has the optional parts of a run that has them', () => {
    const report = reportSchema.parse(JSON.parse(reportText(buildReport(TROUBLED))));
    expect(Object.keys(report)).toEqual(expect.arrayContaining(['moved', 'bgpTables', 'timings']));
    expect(report.cells.find(({ id }) => id === POSITIVE)?.evidence).toEqual({
      ...EVIDENCE,
      sentence: describeEvidence(EVIDENCE),
    });
    const negative = TROUBLED.cells.find(({ cell }) => cell.id === NEGATIVE);
    expect(report.cells.find(({ id }) => id === NEGATIVE)?.proofs).toEqual(negative?.proof);
    expect(report.cells.find(({ id }) => id === NEGATIVE)?.proof).toEqual(
      negative?.proof?.map(describeProof),
    );
    expect(negative?.proof).toHaveLength(2);
    expect(report.cells.find(({ id }) => id === POSITIVE)).not.toHaveProperty('proof');
    expect(buildReport({ ...TROUBLED, aborted: 'interrupted' }).aborted).toBe('interrupted');
  });

  it('does not exist where a result is missing', () => {
    const run = runOf();
    const incomplete = { ...run, cells: run.cells.filter(({ cell }) => cell.id !== NEGATIVE) };
    expect(() => buildReport(incomplete, CELLS)).toThrow('1 have no result');
  });
});

describe('report.schema.json', () => {
  // Written anew by `npx vitest run test/report -u`.
  it('is generated from the schema', async () => {
    await expect(reportJsonSchema()).toMatchFileSnapshot(join(packageRoot, 'report.schema.json'));
  });
});
