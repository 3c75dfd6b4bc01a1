import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { type FakeLab, fakeLab, filesOf } from '../fakes/lab.ts';

let lab: FakeLab;
const dir = () => join(lab.cwd, '.lab', 'bgp-lab');

beforeEach(() => {
  lab = fakeLab();
});

describe('labdown', () => {
  it('with nothing there says so, and is content', async () => {
    const { code, out, err } = await lab.run('labdown', []);
    expect([code, out]).toEqual([0, '']);
    expect(err).toContain('lab "bgp-lab": there was nothing');
  });

  it('removes the lab and its folder, and again is content', async () => {
    await lab.run('labup', ['--yes']);
    const { code, err } = await lab.run('labdown', ['--yes']);
    expect(code).toBe(0);
    expect(err).toContain('lab "bgp-lab" is gone, nothing is left');
    expect([lab.driver.things, existsSync(dir())]).toEqual([[], false]);
    expect((await lab.run('labdown', ['--yes'])).code).toBe(0);
  });

  it('works with .lab deleted', async () => {
    await lab.run('labup', ['--yes']);
    rmSync(join(lab.cwd, '.lab'), { recursive: true });
    const { code, out } = await lab.run('labdown', ['--yes', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, lab: 'bgp-lab', left: [] });
    expect(lab.driver.things).toEqual([]);
  });

  it('works with lab.yaml deleted, by name', async () => {
    rmSync(join(lab.cwd, 'lab.yaml'));
    mkdirSync(join(lab.cwd, '.lab/other'), { recursive: true });
    mkdirSync(join(lab.cwd, '.lab/third'));
    expect((await lab.run('labdown', ['--yes', '--name', 'other'])).code).toBe(0);
    expect(readdirSync(join(lab.cwd, '.lab'))).toEqual(['third']);
  });

  it.each(['../../precious', '..', '.', '', 'a/b', '/etc', 'A'])(
    'refuses the name %j, which is no lab',
    async (name) => {
      mkdirSync(join(lab.cwd, '.lab'), { recursive: true });
      writeFileSync(join(lab.cwd, '.lab', 'keep'), 'me');
      const before = filesOf(lab.cwd);
      const { code, err } = await lab.run('labdown', ['--yes', '--name', name]);
      expect(code).toBe(2);
      expect(err).toContain('--name: ');
      expect(filesOf(lab.cwd)).toEqual(before);
      expect(lab.driver.calls).toEqual([]);
    },
  );

  it('names what it could not remove, and fails', async () => {
    await lab.run('labup', ['--yes']);
    lab.driver.stubborn = ['labbr0'];
    const { code, err } = await lab.run('labdown', ['--yes']);
    expect(code).toBe(1);
    expect(err).toMatch(
      /Not everything of lab "bgp-lab" could be removed\.\n {2}network labbr0 \(present\)\nnext: {2}npx labdown --yes/,
    );
    const asJson = await lab.run('labdown', ['--yes', '--json']);
    expect([asJson.code, JSON.parse(asJson.out)]).toMatchObject([
      1,
      { schemaVersion: 1, error: { code: 'wrong', details: ['network labbr0 (present)'] } },
    ]);
  });

  it.each([
    ['driver: multipass\n', [], 'remove, made elsewhere'],
    ['driver: incus\n', [], 'remove'],
    ['', [], 'remove'],
    // With a name lab.yaml may be another lab's.
    ['driver: multipass\n', ['--name', 'bgp-lab'], 'remove'],
  ])(
    'with .lab deleted starts no daemon but of the driver that made the lab: %j %j',
    async (spec, more, how) => {
      lab = fakeLab(`version: 1\n${spec}`);
      expect((await lab.run('labdown', ['--yes', ...more])).code).toBe(0);
      expect(lab.driver.calls).toEqual([how]);
    },
  );

  it('tells of machines that may still come, and does not say that nothing is left', async () => {
    await lab.run('labup', ['--yes']);
    lab.driver.things = [{ kind: 'machine', name: 'bgp', state: 'a launch that Multipass may still be at' }];
    lab.driver.stubborn = ['bgp'];
    const { code, err } = await lab.run('labdown', ['--yes']);
    expect(code).toBe(1);
    expect(err).toContain('machine bgp (a launch that Multipass may still be at)');
    expect(err).toContain('next:  npx labdown --yes');
    expect(err).not.toContain('nothing is left');
  });

  it('needs consent for machines', async () => {
    await lab.run('labup', ['--yes']);
    lab.driver.calls.length = 0;
    const before = filesOf(lab.cwd);
    const { code, err } = await lab.run('labdown', []);
    expect(code).toBe(2);
    expect(err).toContain('would remove machine k8smaster1');
    expect(err).toContain('next:  npx labdown --yes');
    expect(filesOf(lab.cwd)).toEqual(before);
    expect(lab.driver.calls).toEqual([]);
  });

  it('needs consent for the folder alone, too: it holds keys', async () => {
    await lab.run('labup', ['--yes']);
    lab.driver.things = [];
    const { code, err } = await lab.run('labdown', []);
    expect(code).toBe(2);
    expect(err).toContain(`would remove the folder ${dir()}`);
    expect(existsSync(dir())).toBe(true);
  });

  it('asks on a terminal', async () => {
    await lab.run('labup', ['--yes']);
    const no = await lab.run('labdown', [], { tty: true, meanwhile: ({ type }) => type('no\n') });
    expect([no.code, lab.driver.things.length > 0]).toEqual([2, true]);
    const yes = await lab.run('labdown', [], { tty: true, meanwhile: ({ type }) => type('yes\n') });
    expect([yes.code, lab.driver.things]).toEqual([0, []]);
    expect(yes.err).toContain('is gone, nothing is left');
  });
});
