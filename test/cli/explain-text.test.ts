import { describe, expect, it } from 'vitest';
import { explanationLines } from '../../scripts/cli/test-text.ts';
import { describeEvidence } from '../../scripts/report/cell-text.ts';
import { buildReport } from '../../scripts/report/json.ts';
import { NEGATIVE, POSITIVE } from '../report/fixtures.ts';
import { EVIDENCE, TROUBLED } from '../report/samples.ts';

/** What `lab explain` says of a cell of the troubled run. */
function explained(id: string, width = 100): readonly string[] {
  const report = buildReport(TROUBLED);
  const cell = TROUBLED.cells.find((result) => result.cell.id === id)?.cell;
  const result = report.cells.find((each) => each.id === id);
  if (cell === undefined || result === undefined) throw new Error(`there is no cell ${id}`);
  return explanationLines({ cell, last: { startedAt: report.startedAt, result } }, width);
}

describe('the text of lab explain', () => {
  it('says what proves that a connection rightly failed', () => {
    const lines = explained(NEGATIVE);
    const start = lines.findIndex((line) => line.startsWith('  last labtest'));
    expect(lines.slice(start)).toMatchInlineSnapshot(`
      [
        "  last labtest (2026-01-02 03:04:05 UTC): passed, timeout",
        "  what proves that it failed where it had to:",
        "    - ubuntu>echo-np-tcp/k8sworker2:31234/tcp got through in the same run",
        "    - KUBE-FIREWALL on k8smaster1, "kubernetes firewall for dropping marked packets": the rule",
        "      matched 24 packets from 12 cells",
      ]
    `);
  });

  it('says where a wrong cell went wrong, and speaks of no proof there', () => {
    const text = explained(POSITIVE, 1000).join('\n');
    expect(text).toContain(`where it went wrong: ${describeEvidence(EVIDENCE)}`);
    expect(text).toContain(`everything that was seen: ${EVIDENCE.file}`);
    expect(text).not.toContain('what proves');
  });

  it('keeps to its width', () => {
    expect(explained(NEGATIVE, 60).filter((line) => line.length > 60)).toEqual([]);
  });
});
