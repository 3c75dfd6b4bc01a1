/** What flags said when a lab was made is part of it: later commands without flags go on with it. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import { fakeDriver } from '../fakes/driver.ts';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';
import { MULTIPASS } from '../plan/doctor/good-host.ts';

let lab: FakeLab;

beforeEach(() => {
  lab = fakeLab();
});

const REFUSED = 'Lab "bgp-lab" was made with other settings.';

async function planned(...argv: readonly string[]): Promise<LabPlan> {
  const { code, out, err } = await lab.run('labup', ['--dry-run', '--json', ...argv]);
  expect(code, `${out}${err}`).toBe(0);
  return JSON.parse(out) as LabPlan;
}

/** A labup that ends when it has noted what it is to make. */
async function begin(...argv: readonly string[]): Promise<void> {
  const { ensureHost } = lab.driver;
  lab.driver.ensureHost = async () => {
    throw new LabFailure('no power');
  };
  const { code, err } = await lab.run('labup', ['--yes', ...argv]);
  expect([code, err]).toEqual([1, expect.stringContaining('no power')]);
  lab.driver.ensureHost = ensureHost;
}

const isUp = { code: 0, err: expect.stringContaining('was up already, nothing changed') };

describe('--driver', () => {
  it('is gone on with, also beside another one in lab.yaml; another flag says what differs', async () => {
    lab.facts = { multipass: MULTIPASS };
    lab.driver = { ...fakeDriver(), name: 'multipass', machines: 'plain' };
    await begin('--driver', 'multipass');
    for (const spec of ['version: 1\n', 'version: 1\ndriver: incus\n']) {
      writeFileSync(join(lab.cwd, 'lab.yaml'), spec);
      const why = 'set by --driver multipass when the lab was made';
      expect((await planned()).choices.driver).toEqual({ value: 'multipass', why });
      expect((await lab.run('lab', ['doctor'])).out).toContain(`driver multipass (${why})`);
    }
    const { code, err } = await lab.run('labup', ['--yes', '--driver', 'incus']);
    expect(code).toBe(2);
    expect(err).toContain(`${REFUSED}\n  driver: multipass when the lab was made, now incus\n`);
    expect((await planned()).choices.driver.value).toBe('multipass');
  });
});

describe('auto', () => {
  it('is what it came to when the lab was made, though Multipass is there by now', async () => {
    await lab.run('labup', ['--yes']);
    const bin = join(lab.cwd, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'multipass'), '');
    const env = { PATH: bin };
    const { out } = await lab.run('labup', ['--dry-run', '--json'], { env });
    expect((JSON.parse(out) as LabPlan).choices.driver).toEqual({
      value: 'incus',
      why: 'the lab was made with it; for a new one: multipass',
    });
    expect(await lab.run('labup', ['--yes'], { env })).toMatchObject(isUp);
    const fresh = fakeLab();
    const forNew = await fresh.run('labup', ['--dry-run', '--json'], { env });
    expect((JSON.parse(forNew.out) as LabPlan).choices.driver.value).toBe('multipass');
  });
});

describe('--artifacts', () => {
  it('with the folder of a bundle is gone on with, wherever that lies by then', async () => {
    const bundle = join(lab.cwd, 'bundle');
    mkdirSync(bundle);
    const file = (role: string) => ({ path: role, role, version: '1', sha256: '0'.repeat(64) });
    writeFileSync(
      join(bundle, 'bundle.yaml'),
      JSON.stringify({
        schemaVersion: 1,
        architecture: 'amd64',
        distribution: 'kubeadm',
        cni: 'calico',
        versions: { kubernetes: 'v1.36.9', calico: 'v3.32.1' },
        files: ['kubelet', 'kubeadm', 'image-archive'].map(file),
      }),
    );
    const said = await planned('--artifacts', './bundle');
    await begin('--artifacts', './bundle');
    expect(await planned()).toMatchObject({ bundle, kubernetes: said.kubernetes });
    expect((await planned()).choices.artifacts.why).toContain('when the lab was made');

    const { code, err } = await lab.run('labup', ['--yes', '--artifacts', 'debian']);
    expect(code).toBe(2);
    expect(err).toContain(`${REFUSED}\n  cni: calico when the lab was made, now bird\n`);
    expect(err).toContain('  kubernetes.version: v1.36.9 when the lab was made, now v1.20.2\n');

    const moved = join(lab.cwd, 'moved');
    renameSync(bundle, moved);
    expect((await lab.run('labup', ['--yes'])).err).toContain(`${bundle} is no bundle`);
    expect(await planned('--artifacts', 'moved')).toMatchObject({ bundle: moved });
  });

  it('and --distribution are gone on with', async () => {
    const flags = ['--artifacts', 'online', '--distribution', 'kubeadm'];
    const { choices } = await planned(...flags);
    await begin(...flags);
    const values = ({ choices: all }: LabPlan) => Object.values(all).map(({ value }) => value);
    expect(values(await planned())).toEqual(Object.values(choices).map(({ value }) => value));
    expect(values(await planned('--distribution', 'auto'))).toEqual(values(await planned()));
    expect((await lab.run('labup', ['--yes', '--distribution', 'k3s'])).err).toContain(
      '  distribution: kubeadm when the lab was made, now k3s\n',
    );
  });
});

describe('--small', () => {
  it('is gone on with', async () => {
    await begin('--small');
    const names = (await planned()).machines.map(({ name }) => name);
    expect(names).toEqual(['k8smaster1', 'k8sworker1', 'k8sworker2', 'bgp', 'ubuntu']);
  });

  it('is another lab for one that was made without', async () => {
    await lab.run('labup', ['--yes']);
    const { code, err } = await lab.run('labup', ['--yes', '--small']);
    expect(code).toBe(2);
    expect(err).toContain(
      `${REFUSED}\n  machines.k8sworker3: worker when the lab was made, now none\n` +
        '  machines.routed: client when the lab was made, now none\nnext:',
    );
    expect((await planned()).machines).toHaveLength(7);
  });
});

it('--echo can change in a running lab: labup without it goes back to lab.yaml', async () => {
  await lab.run('labup', ['--yes', '--echo', 'simple']);
  expect((await planned()).echo.variant).toBe('full');
});

it('a namespace or a port of echo cannot change in a running lab', async () => {
  await lab.run('labup', ['--yes']);
  writeFileSync(join(lab.cwd, 'lab.yaml'), 'version: 1\necho: { namespace: demo, udpPort: 7 }\n');
  const { code, err } = await lab.run('labup', ['--yes']);
  expect(code).toBe(2);
  expect(err).toContain('echo.namespace: echo-server when the lab was made, now demo');
  expect(err).toContain('echo.udpPort: 5678 when the lab was made, now 7');
});

it('flags are kept only until labdown', async () => {
  await begin('--small');
  expect(JSON.parse(readFileSync(join(lab.cwd, '.lab/bgp-lab/flags.json'), 'utf8'))).toEqual({ small: true });
  await lab.run('labdown', ['--yes']);
  expect((await planned()).machines).toHaveLength(7);
});

describe('lab.yaml that was changed after the lab was made', () => {
  const written = (text: string) => writeFileSync(join(lab.cwd, 'lab.yaml'), `version: 1\n${text}`);
  const differs = async () => {
    const { code, out } = await lab.run('lab', ['status', '--json']);
    expect(code).toBe(0);
    return (JSON.parse(out) as { differences: readonly string[] }).differences;
  };

  it('is told by lab status and by labtest, which look at the lab as it was made', async () => {
    await lab.run('labup', ['--yes']);
    expect(await differs()).toEqual([]);
    written('echo: {externalIp: 2.2.2.3}\n');
    const text = 'echo.externalIp: 2.2.2.2 when the lab was made, now 2.2.2.3';
    expect(await differs()).toContain(text);
    expect((await lab.run('lab', ['status'])).out).toContain(`\nlab.yaml differs: ${text}\n`);
    const { code, err } = await lab.run('labtest', []);
    expect(err).toContain(`lab.yaml differs from the lab that is looked at: ${text}`);
    expect(code).not.toBe(2);
  });

  it('is another lab by its name, or cannot be read: the lab is looked at all the same', async () => {
    await lab.run('labup', ['--yes']);
    written('name: other\n');
    expect((await lab.run('lab', ['status', '--name', 'bgp-lab'])).out).not.toContain('differs');
    written('artifacts: bundle\nbundle: gone\n');
    expect((await differs())[0]).toMatch(/^it cannot be compared: .*gone is no bundle/);
  });
});
