import { describe, expect, it } from 'vitest';
import { decide } from '../../scripts/plan/choices.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { parseSpec } from '../../scripts/spec/load.ts';
import { BARE_HOST } from './fixtures.ts';

const auto = parseSpec('version: 1\n', 'lab.yaml');

function refusal(run: () => unknown): UserError {
  try {
    run();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('auto', () => {
  it.each([
    [{}, 'driver', 'Multipass is not installed; labup will install Incus or LXD'],
    [{ incusOrLxdInstalled: true }, 'driver', 'Multipass is not installed; Incus or LXD is installed'],
    [{}, 'distribution', 'k3s needs online artifacts'],
    [{}, 'artifacts', 'this version builds everything from Debian packages'],
    [{}, 'cni', 'no Calico images'],
  ] as const)('%j: %s says why', (facts, choice, why) => {
    const choices = decide(auto, { ...BARE_HOST, ...facts });
    expect(choices[choice].why).toContain(why);
    expect(Object.values(choices).map(({ value }) => value)).toEqual(['incus', 'kubeadm', 'debian', 'bird']);
  });
});

describe('explicit choices', () => {
  it('are kept, and the reason is where they were set', () => {
    const spec = { ...auto, driver: 'incus', artifacts: 'debian' } as const;
    const choices = decide(spec, BARE_HOST, { distribution: 'kubeadm' });
    expect(choices.driver).toEqual({ value: 'incus', why: 'set by "driver: incus" in the spec' });
    expect(choices.distribution).toEqual({ value: 'kubeadm', why: 'set by --distribution kubeadm' });
  });

  it.each([
    ['distribution', 'k3s', 'kubeadm'],
    ['artifacts', 'online', 'debian'],
    ['artifacts', 'bundle', 'debian'],
  ])('%s: %s is refused and the way out is named', (key, value, available) => {
    const error = refusal(() => decide({ ...auto, [key]: value }, BARE_HOST));
    expect(error.exitCode).toBe(2);
    const source = `set by "${key}: ${value}" in the spec`;
    expect(error.details).toEqual([
      `${key}: ${value} (${source}) is not available in this version; available: ${available}`,
    ]);
    expect(error.next).toBe(
      `Write "${key}: ${available}" (or auto) in the spec, or run: labup --${key} ${available}`,
    );
  });

  it('are refused all at once', () => {
    const error = refusal(() => decide({ ...auto, artifacts: 'online' }, BARE_HOST, { distribution: 'k3s' }));
    expect(error.details).toHaveLength(2);
    expect(error.next).toContain('labup --distribution kubeadm --artifacts debian');
  });

  it('on the command line win over the spec', () => {
    expect(decide({ ...auto, driver: 'multipass' }, BARE_HOST, { driver: 'incus' }).driver.value).toBe(
      'incus',
    );
    expect(decide({ ...auto, driver: 'multipass' }, BARE_HOST, { driver: 'auto' }).driver.why).toContain(
      'Multipass',
    );
  });
});
