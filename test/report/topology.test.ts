import { describe, expect, it } from 'vitest';
import { type Box, layOut, topologySection } from '../../scripts/report/html/topology.ts';
import { planOf } from '../matrix/fixtures.ts';
import { runOf } from './fixtures.ts';
import { sessionChecks, TROUBLED } from './samples.ts';

function planWith(workers: number) {
  const machines = [
    '  - { name: k8smaster1, role: control-plane, address: 192.168.13.30 }',
    ...Array.from(
      { length: workers },
      (_, index) => `  - { name: k8sworker${index + 1}, role: worker, address: 192.168.13.${41 + index} }`,
    ),
    '  - { name: bgp, role: router, address: 192.168.13.39 }',
  ];
  return planOf(`version: 1\nmachines:\n${machines.join('\n')}\n`);
}

function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

describe('the drawing', () => {
  it.each([1, 2, 3, 7, 8, 20])('has room for %i workers', (workers) => {
    const plan = planWith(workers);
    const { width, height, clients, router, nodes, sessions } = layOut(plan, sessionChecks(plan));
    const boxes = [...clients, router, ...nodes];
    expect(nodes).toHaveLength(workers + 1);
    expect(boxes.flatMap((a) => boxes.filter((b) => a !== b && overlap(a, b)))).toEqual([]);
    for (const box of boxes) {
      expect(box.x).toBeGreaterThanOrEqual(0);
      expect(box.y).toBeGreaterThanOrEqual(0);
      expect(box.x + box.width).toBeLessThanOrEqual(width);
      expect(box.y + box.height).toBeLessThanOrEqual(height);
    }
    for (const { mark } of sessions) expect(mark.x + 9).toBeLessThan(width);
    expect(sessions).toHaveLength(plan.bgp.peerings.length);
    expect(sessions.every(({ state }) => state === 'passed')).toBe(true);
  });

  it('marks a session that is not up, and links it to its check', () => {
    const { text = '' } = topologySection(TROUBLED) ?? {};
    expect(text).toContain('href="#check-bgp.session.bgp-k8sworker2"');
    expect(text).toContain('eBGP: 2 of 3 sessions up · iBGP mesh: 5 of 6 sessions up');
  });

  it('does not claim that a session is up that nobody checked', () => {
    const { text = '' } = topologySection({ ...runOf({ checks: [] }), plan: planWith(3) }) ?? {};
    expect(text).toContain('eBGP: 3 sessions, not checked');
    expect(text).not.toContain('session ebgp passed"><title>');
  });

  it('cuts names that are longer than their box, and tells them in full', () => {
    const name = 'a-client-with-a-very-long-name-indeed';
    const plan = planOf();
    const machines = plan.machines.map((each) => (each.name === 'ubuntu' ? { ...each, name } : each));
    const { text = '' } = topologySection({ ...runOf(), plan: { ...plan, machines } }) ?? {};
    expect(text).toMatch(/>a-c[a-z-]*…<title>a-client-with-a-very-long-name-indeed<\/title>/);
  });
});
