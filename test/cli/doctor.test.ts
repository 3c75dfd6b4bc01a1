import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CheckDocument } from '../../scripts/commands/inspect/doctor.ts';
import { type FakeLab, fakeLab, filesOf } from '../fakes/lab.ts';
import { DEBIAN_KERNEL } from '../plan/doctor/good-host.ts';

let lab: FakeLab;

beforeEach(() => {
  lab = fakeLab();
});

/** `lab doctor`, of which nothing but its answer may be left. */
async function doctor(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const before = filesOf(lab.cwd);
  const ran = await lab.run('lab', ['doctor', ...argv]);
  expect(filesOf(lab.cwd)).toEqual(before);
  expect([lab.driver.calls, lab.local.lines(), lab.asked, lab.interactive]).toEqual([[], [], [], []]);
  return ran;
}

interface Document {
  readonly schemaVersion: 1;
  readonly lab: string;
  readonly driver: string;
  readonly blocked: boolean;
  readonly checks: readonly CheckDocument[];
}

describe('lab doctor', () => {
  it('shows every check of a host that can take the lab', async () => {
    const { code, out, err } = await doctor();
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^lab "bgp-lab", driver incus \(/);
    expect(out).toMatch(/^✓ memory +8\.0 GiB are available; 2\.4 GiB are needed$/m);
    expect(out).toMatch(/^- package mirror +skipped: nothing has to be built or installed$/m);
    expect(out).toMatch(/^✓ kernel: TCP MD5 +there, for BGP passwords$/m);
    expect(out).toMatch(/\nready: nothing stops labup\n$/);
    expect(out.match(/^[✓-] /gm)).toHaveLength(27);
    expect(out).not.toMatch(/^[!✗] /m);
  });

  it('shows everything that is wrong, with its cure, and exits 2', async () => {
    lab.facts = {
      uid: 1000,
      freeMemoryBytes: 0,
      routes: [{ dst: '10.0.0.0/8', kind: 'via', dev: 'tun0' }],
      kernel: { ...DEBIAN_KERNEL, config: new Map() },
    };
    const { code, out, err } = await doctor();
    expect([code, err]).toEqual([2, '']);
    expect(out).toMatch(/^✗ user +user 1000 is not root; .*\n +cure: run it as root, e\.g\. with sudo$/m);
    expect(out).toMatch(/^✗ kernel: TCP MD5 +kernel \S+ has no TCP_MD5SIG: needed for BGP passwords$/m);
    // Two problems with one cure.
    expect(out).toMatch(
      /^! lab prefixes +kubernetes\.podCidr: .*\n.*\n +kubernetes\.serviceCidr: .*\n.*\n +cure: none needed/m,
    );
    expect(out.match(/cure: none needed/g)).toHaveLength(1);
    expect(out).toMatch(/\nnot ready: 7 errors, 3 warnings; labup would stop before it touches anything\n$/);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });

  it('is not stopped by warnings', async () => {
    lab.packages = [{ package: 'lxd', for: 'the machines' }];
    const { code, out } = await doctor();
    expect(code).toBe(0);
    expect(out).toMatch(
      /^! packages +missing: lxd \(the machines\)\n +cure: labup asks and installs; by hand: /m,
    );
    expect(out).toMatch(/^✓ package mirror +answers; to be installed: lxd$/m);
    expect(out).toContain('ready: nothing stops labup, 1 warning\n');
  });

  it('stops where labup stops, for the same reasons', async () => {
    lab.facts = { kmsg: false, kvm: 'absent' };
    lab.packages = [{ package: 'lxd', for: 'the machines' }];
    lab.reachable = false;
    const { code, out } = await doctor('--json');
    const up = await lab.run('labup', ['--yes', '--json']);
    const { details } = (JSON.parse(up.out) as { error: { details: readonly string[] } }).error;
    const errors = (JSON.parse(out) as Document).checks.filter(({ verdict }) => verdict === 'error');
    expect([code, up.code]).toEqual([2, 2]);
    expect(errors.map(({ found, cure }) => `host: ${found}  (fix: ${cure})`)).toEqual(details);
    expect(errors.map(({ id }) => id)).toEqual(['mirror', 'kmsg']);
  });

  it('prints one JSON document with --json', async () => {
    lab.facts = { routes: [{ dst: '10.0.0.0/8', kind: 'via', dev: 'tun0' }] };
    const { code, out, err } = await doctor('--json');
    expect([code, err]).toEqual([0, '']);
    const document = JSON.parse(out) as Document;
    expect(document).toMatchObject({ schemaVersion: 1, lab: 'bgp-lab', driver: 'incus', blocked: false });
    const check = (id: string) => document.checks.find((each) => each.id === id);
    expect(check('user')).toEqual({ id: 'user', title: 'user', verdict: 'ok', found: 'root' });
    expect(check('mirror')).toMatchObject({ verdict: 'skipped' });
    expect(check('prefixes')).toMatchObject({
      verdict: 'warning',
      found: expect.stringMatching(/^10\.255\.0\.0\/16 overlaps .*; 10\.96\.0\.0\/12 overlaps /),
      cure: 'none needed unless a machine of the lab must reach that network',
    });
  });

  it('says where the lab was made with other settings', async () => {
    await lab.run('labup', ['--yes']);
    lab.driver.calls.length = 0;
    for (const list of [lab.asked, lab.local.calls]) list.length = 0;
    expect((await doctor()).out).toMatch(/^✓ this lab +7 of 7 machines are there$/m);
    writeFileSync(join(lab.cwd, 'lab.yaml'), 'version: 1\nbgp:\n  clusterAsn: 65010\n');
    const { code, out } = await doctor();
    expect(code).toBe(2);
    expect(out.replaceAll(/\s+/g, ' ')).toContain(
      '✗ this lab it was made with other settings: bgp.clusterAsn: 65001 when the lab was made, now 65010 ',
    );
  });

  it('goes on where something cannot be looked at', async () => {
    lab.driver.observe = async () => {
      throw new Error('the socket is gone');
    };
    lab.facts = { unseen: { network: 'ip failed' }, kernel: undefined };
    const { code, out } = await doctor();
    expect(code).toBe(2);
    expect(out).toMatch(
      /^✗ this lab +what exists of lab "bgp-lab" could not be looked at: the socket is gone$/m,
    );
    expect(out).toMatch(/^! subnet +the routes could not be looked at: ip failed$/m);
    expect(out).toMatch(/^! kernel: overlay +kernel: overlay could not be looked at: /m);
  });

  it.each([
    ['a bad spec', 'version: 1\nbananas: 3\n', [], 'bananas'],
    ['a driver that there is not', undefined, ['--driver', 'vmware'], 'Allowed choices are'],
    ['a file that there is not', undefined, ['--file', 'other.yaml'], 'other.yaml'],
  ])('exits 2 with %s', async (_, spec, argv, text) => {
    if (spec !== undefined) lab = fakeLab(spec);
    const { code, out, err } = await doctor(...argv);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(text);
  });
});
