import { describe, expect, it } from 'vitest';
import { toJunit } from '../../scripts/report/junit.ts';
import { abortedRun } from '../../scripts/report/run.ts';
import { CELLS, CHECKS, POSITIVE, runOf, TIMEOUT, wrongly } from './fixtures.ts';

const run = runOf({
  cells: CELLS.map((cell) => (cell.from === 'bgp' ? { ...cell, blockedBy: 'workloads.client-pod' } : cell)),
  checks: CHECKS.map((check, index) => (index === 1 ? wrongly(check, 'no-answer', 'a <b> & "c"') : check)),
  first: { [POSITIVE]: TIMEOUT, 'ubuntu>echo-np-tcp/k8sworker2:31234/tcp': TIMEOUT },
  second: { 'ubuntu>echo-np-tcp/k8sworker2:31234/tcp': {} },
  broken: ['routed'],
});
const xml = toJunit(run);

function attributesOf(suite: string): Record<string, string> {
  const tag = new RegExp(`<testsuite name="${suite}"[^>]*>`).exec(xml)?.[0] ?? '';
  return Object.fromEntries(
    [...tag.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]),
  );
}

describe('JUnit', () => {
  it('has a suite per source and one for the checks', () => {
    expect([...xml.matchAll(/<testsuite name="([^"]*)"/g)].map(([, name]) => name)).toEqual([
      'from k8smaster1',
      'from k8sworker1',
      'from k8sworker2',
      'from k8sworker3',
      'from pod/echo-client1',
      'from bgp',
      'from routed',
      'from ubuntu',
      'checks',
    ]);
  });

  it('counts failures, errors and skipped cells apart', () => {
    expect(attributesOf('from ubuntu')).toMatchObject({
      tests: '31',
      failures: '1',
      errors: '0',
      skipped: '0',
    });
    expect(attributesOf('from routed')).toMatchObject({
      tests: '31',
      failures: '0',
      errors: '31',
      skipped: '0',
    });
    expect(attributesOf('from bgp')).toMatchObject({
      tests: '31',
      failures: '0',
      errors: '0',
      skipped: '31',
    });
    expect(attributesOf('checks')).toMatchObject({ tests: '3', failures: '1' });
    expect(xml).toMatch(/<testsuites tests="251" failures="2" errors="31" skipped="31">/);
  });

  it('tells the story of a failure', () => {
    expect(xml).toContain('type="timeout"');
    expect(xml).toContain('expected: ok from 10.255.0.74, seen as 192.168.13.104\nobserved: timeout');
    expect(xml).toContain('flaky');
  });

  it('is in UTC, wherever it is made', () => {
    expect(attributesOf('checks')).toMatchObject({ timestamp: '2026-01-02T03:04:05' });
  });

  it('escapes what XML gives a meaning', () => {
    expect(xml).toContain('observed a &lt;b> &amp; &quot;c&quot;');
  });

  it('is a document also without cells', () => {
    expect(toJunit(runOf({ cells: [], checks: [] }))).toMatch(/<testsuites tests="0"/);
  });

  it('of an aborted run is never green, and has every cell that was planned', () => {
    const whole = runOf({ checks: [] });
    const aborted = toJunit(
      abortedRun({ ...whole, cells: whole.cells.slice(0, 10) }, 'interrupted by SIGINT', CELLS),
    );
    expect(aborted).toMatch(/<testsuites tests="249" failures="0" errors="1" skipped="238">/);
    expect(aborted).toContain('the run was aborted: interrupted by SIGINT');
    expect(toJunit(abortedRun(runOf({ cells: [], checks: [] }), 'no lab'))).toMatch(
      /tests="1" failures="0" errors="1"/,
    );
  });
});
