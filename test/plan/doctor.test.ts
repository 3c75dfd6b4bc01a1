import { describe, expect, it } from 'vitest';
import { type DoctorCheck, isAtLeast } from '../../scripts/plan/doctor/check.ts';
import { examineHost } from '../../scripts/plan/doctor/checks.ts';
import type { HostFacts } from '../../scripts/plan/host-facts.ts';
import { planLab } from '../../scripts/plan/plan.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import type { DriverName } from '../../scripts/spec/types.ts';
import type { Case, Cases } from './doctor/case.ts';
import { DAEMONS_CASES } from './doctor/cases-daemons.ts';
import { KERNEL_CASES } from './doctor/cases-kernel.ts';
import { NETWORK_CASES } from './doctor/cases-network.ts';
import { disk, RESOURCES_CASES } from './doctor/cases-resources.ts';
import { SYSTEM_CASES } from './doctor/cases-system.ts';
import { GOOD_HOST, MULTIPASS } from './doctor/good-host.ts';
import { planOf } from './fixtures.ts';

const { spec, plan } = planOf('lab.yaml');

const CASES: Cases = {
  ...SYSTEM_CASES,
  ...DAEMONS_CASES,
  ...RESOURCES_CASES,
  ...NETWORK_CASES,
  ...KERNEL_CASES,
};

const planFor = ({ driver = 'incus', mode, artifacts = 'debian', versions }: Partial<Case>): LabPlan =>
  planLab(
    { ...spec, multipass: { ...spec.multipass, network: { mode: mode ?? 'static' } } },
    {
      ...plan.choices,
      driver: { value: driver, why: 'a test' },
      artifacts: { value: artifacts, why: 'a test' },
    },
    versions === undefined ? undefined : { versions },
  );
const examinedFor = (host: Partial<Case>) =>
  examineHost(planFor(host), { ...GOOD_HOST, multipass: MULTIPASS, ...host.facts });
const examined = (facts: Partial<HostFacts>, driver: DriverName = 'incus') => examinedFor({ facts, driver });
const theCheck = (id: string, host: Partial<Case>): DoctorCheck => {
  const found = examinedFor(host).find((check) => check.id === id);
  if (found === undefined) throw new Error(`there is no check ${id}`);
  return found;
};

/** What was seen, and what is wrong with it: all texts of a check. */
const textOf = ({ found, problems }: DoctorCheck) =>
  [found, ...problems.flatMap(({ message, hint }) => [message, `cure: ${hint}`])].join('\n');

describe.each(Object.entries(CASES))('the check %s', (id, cases) => {
  it.each(cases)('$verdict: $what', ({ verdict, says, ...host }) => {
    const check = theCheck(id, host);
    expect([textOf(check), check.verdict]).toEqual([expect.any(String), verdict]);
    for (const piece of says) expect(textOf(check)).toContain(piece);
    expect(check.found).not.toBe('');
    expect(check.problems.length > 0).toBe(verdict === 'warning' || verdict === 'error');
    for (const { hint } of check.problems) expect(hint.length).toBeGreaterThan(10);
  });
});

describe('the checks of a driver', () => {
  const ids = (driver: DriverName) => examined({}, driver).map(({ id }) => id);

  it('are those that it depends on', () => {
    expect(ids('incus')).toEqual(expect.arrayContaining(['user', 'daemon', 'kernel-tcp-md5', 'kmsg']));
    expect(ids('incus')).not.toContain('kvm');
    expect(ids('incus')).not.toContain('kernel-calico');
    expect(ids('multipass')).toEqual(expect.arrayContaining(['multipass', 'kvm', 'memory', 'subnet']));
    expect(ids('multipass').filter((id) => /^(user|daemon|bridge$|kernel|inotify)/.test(id))).toEqual([]);
    expect(ids('ssh')).toEqual(['platform', 'node', 'clock', 'packages', 'mirror', 'disk', 'lab', 'vpn']);
  });

  it('are all in the table above, each with a case that is good and one that is not', () => {
    const all = new Set([
      ...(['incus', 'multipass', 'ssh'] as const).flatMap(ids),
      'calico',
      'kernel-calico',
    ]);
    expect(Object.keys(CASES).sort()).toEqual([...all].sort());
    for (const [id, cases] of Object.entries(CASES)) {
      const verdicts = cases.map(({ verdict }) => verdict);
      expect([id, verdicts.includes('ok')]).toEqual([id, true]);
      expect([id, verdicts.some((verdict) => verdict === 'error' || verdict === 'warning')]).toEqual([
        id,
        true,
      ]);
    }
  });

  it('have ids of their own', () => {
    for (const driver of ['incus', 'multipass', 'ssh'] as const) {
      expect(new Set(ids(driver)).size).toBe(ids(driver).length);
    }
  });

  it('are on a Mac those that do not need Linux', () => {
    const facts = { platform: 'darwin', kvm: 'absent', kmsg: false, apt: false } as const;
    const onMac = examinedFor({ facts, driver: 'multipass', mode: 'dhcp', artifacts: 'bundle' });
    expect(onMac.map(({ id }) => id)).toEqual(
      ids('multipass').filter((id) => !['kvm', 'packages', 'mirror', 'bridge-netfilter'].includes(id)),
    );
    expect(onMac.flatMap(({ problems }) => problems)).toEqual([
      expect.objectContaining({
        severity: 'warning',
        message: expect.stringContaining('ever tried on darwin'),
      }),
    ]);
  });

  it('find nothing on a good host', () => {
    for (const driver of ['incus', 'multipass', 'ssh'] as const) {
      const facts = { disks: [disk('machines', 1, 50)] };
      expect(examined(facts, driver).flatMap(({ problems }) => problems)).toEqual([]);
    }
  });
});

describe('isAtLeast', () => {
  it.each([
    ['20.19.0', '20.19', true],
    ['20.9.1', '20.19', false],
    ['22.1', '20.19', true],
    ['6', '6.0.0', true],
    ['5.21.3 LTS', '5', true],
    ['4.24', '5', false],
    ['1.15.0', '1.15', true],
    ['1.14.1', '1.15', false],
    ['1.9.0', '1.15', false],
    ['2.0', '1.15', true],
    ['1.16.3+mac', '1.15', true],
    ['1.16.3+mac', '1.17', false],
    ['1.17.0-dev.616.ci1549+gf42cf65a.win', '1.17', true],
    ['1.x', '1.15', false],
    ['unknown', '1', false],
    ['', '0', false],
  ])('%j is at least %s: %s', (version, floor, expected) => {
    expect(isAtLeast(version, floor)).toBe(expected);
  });
});
