import { describe, expect, it } from 'vitest';
import { planLab } from '../../scripts/plan/plan.ts';
import { type PlanTextExtra, renderPlan } from '../../scripts/render/plan-text.ts';
import { parseSpec } from '../../scripts/spec/load.ts';
import { defaultPlan, planOf, VALID_SPECS } from '../plan/fixtures.ts';
import { differences } from './golden.ts';

const extra: PlanTextExtra = {
  steps: [
    { title: 'Check the host', why: 'nothing is changed before everything is known to fit' },
    { title: 'Build artifacts', why: `${'the cache lacks some of them, '.repeat(5)}so they are made once` },
  ],
  toInstall: ['lxd (LXD 5, the driver)', 'mmdebstrap'],
  toBuild: ['machine image', 'kubernetes v1.20.2'],
  hostChanges: ['the bridge labbr0 with 192.168.13.1/24', 'the project bgp-lab of Incus or LXD'],
  warnings: ['kubernetes.podCidr: 10.255.0.0/16 overlaps a route of the host'],
};
const nothing: PlanTextExtra = { steps: [], toInstall: [], toBuild: [], hostChanges: [] };

describe('renderPlan', () => {
  it.each(VALID_SPECS)('%s reads as reviewed and fits 100 columns', async (name, path) => {
    const text = renderPlan(planOf(path).plan, extra);
    for (const line of text.split('\n')) {
      expect(line.length).toBeLessThanOrEqual(100);
      expect(line).toBe(line.trimEnd());
    }
    if (name === 'default') await expect(text).toMatchFileSnapshot('../golden/default/plan.txt');
    else {
      const others = differences(renderPlan(defaultPlan, extra), text).join('\n');
      await expect(`${others}\n`).toMatchFileSnapshot(`../golden/plans/${name}.diff`);
    }
  });

  it('fits 100 columns with the longest names', () => {
    const name = (letter: string) => letter.repeat(63);
    const machines = ['control-plane', 'worker', 'router', 'client']
      .map(
        (role, i) =>
          `  - { name: ${name('abcd'.charAt(i))}, role: ${role}, address: 192.168.13.${i + 100} }\n`,
      )
      .join('');
    const spec = parseSpec(`version: 1\nname: ${name('l')}\nmachines:\n${machines}`, 'x.yaml');
    const text = renderPlan(planLab(spec, defaultPlan.choices), extra);
    for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
    for (const letter of 'abcdl') expect(text).toContain(name(letter));
  });

  it('says so where nothing is to be done, and leaves empty sections out', () => {
    const text = renderPlan(defaultPlan, nothing);
    expect(text).toContain('To install on the host\n  nothing\n');
    expect(text).toContain('To build or fetch\n  nothing: all artifacts are cached\n');
    expect(text).not.toContain('Steps');
    expect(text).not.toContain('Warnings');
  });

  it('is plain ASCII and has no colour', () => {
    expect(renderPlan(defaultPlan, extra)).toMatch(/^[\n\x20-\x7e]*$/);
  });
});
