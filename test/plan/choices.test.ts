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
    [{}, 'distribution', 'Debian has the sources of kubeadm, and no k3s'],
    [{}, 'artifacts', "built here from Debian's packages"],
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
    [{ distribution: 'k3s' }, ['k3s', 'online', 'calico']],
    [{ artifacts: 'online' }, ['k3s', 'online', 'calico']],
    [{ artifacts: 'online', distribution: 'kubeadm' }, ['kubeadm', 'online', 'calico']],
    [{ artifacts: 'bundle' }, ['k3s', 'bundle', 'bird']],
    [{ artifacts: 'bundle', distribution: 'k3s' }, ['k3s', 'bundle', 'bird']],
  ] as const)('%j brings what goes with it', (flags, expected) => {
    const bundle = { distribution: 'k3s', cni: 'bird', versions: { kubernetes: 'v1.36.2+k3s1' } } as const;
    const { distribution, artifacts, cni } = decide(auto, { ...BARE_HOST, bundle }, flags);
    expect([distribution, artifacts, cni].map(({ value }) => value)).toEqual(expected);
  });

  it('that the artifacts cannot make are refused, with both reasons and the way out', () => {
    const debian = refusal(() =>
      decide({ ...auto, artifacts: 'debian' }, BARE_HOST, { distribution: 'k3s' }),
    );
    expect(debian.exitCode).toBe(2);
    expect(debian.details).toEqual([
      'distribution: k3s (set by --distribution k3s)',
      'artifacts: debian (Debian has the sources of kubeadm, and no k3s)',
    ]);
    expect(debian.next).toContain('labup --artifacts online');
    const bundle = { distribution: 'k3s', cni: 'calico', versions: { kubernetes: 'v1.36.2+k3s1' } } as const;
    const spec = { ...auto, artifacts: 'bundle', distribution: 'kubeadm' } as const;
    const other = refusal(() => decide(spec, { ...BARE_HOST, bundle }));
    expect(other.details).toContain('artifacts: bundle (the bundle holds k3s)');
    expect(other.next).toContain('take another bundle');
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
