/** A folder without lab.yaml, as somebody has it who installed the package: the default lab, and `lab init`. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../../scripts/shared/files.ts';
import { loadSpec } from '../../scripts/spec/load.ts';
import { type FakeLab, fakeLab, filesOf } from '../fakes/lab.ts';

const NO_FILE = /^There is no lab\.yaml in \S+: this is the default lab \(to change it: npx lab init\)\.$/m;

let lab: FakeLab;

beforeEach(() => {
  lab = fakeLab();
  rmSync(join(lab.cwd, 'lab.yaml'));
});

describe('without lab.yaml', () => {
  it('labup makes the default lab and says so', async () => {
    const planned = await lab.run('labup', ['--dry-run', '--json']);
    expect([planned.code, JSON.parse(planned.out)]).toEqual([0, expect.objectContaining({ lab: 'bgp-lab' })]);
    expect(planned.err).toMatch(NO_FILE);
    const { code, err } = await lab.run('labup', ['--yes']);
    expect([code, err]).toEqual([0, expect.stringMatching(NO_FILE)]);
    expect(filesOf(lab.cwd)).not.toHaveProperty('lab.yaml');
  });

  it('every other command works on it, and says so only where lab.yaml matters', async () => {
    expect(await lab.run('lab', ['predict'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('There is no lab here yet.'),
    });
    await lab.run('labup', ['--yes']);
    expect((await lab.run('lab', ['doctor'])).err).toMatch(NO_FILE);
    for (const argv of [['status'], ['predict'], ['exec', 'bgp', 'true'], ['logs'], ['down', '--yes']])
      expect(await lab.run('lab', argv)).toMatchObject({ code: 0, err: expect.not.stringMatching(NO_FILE) });
    expect(existsSync(join(lab.cwd, '.lab/bgp-lab'))).toBe(false);
  });

  it('a folder with one lab of another name means that one; with two the default lab', async () => {
    mkdirSync(join(lab.cwd, '.lab/other'), { recursive: true });
    const lookedFor = async () =>
      /looked for \S+\.lab\/(\S+)/.exec((await lab.run('lab', ['predict'])).err)?.[1];
    expect(await lookedFor()).toBe('other/plan.json');
    mkdirSync(join(lab.cwd, '.lab/third'));
    expect(await lookedFor()).toBe('bgp-lab/plan.json');
  });

  it('a file that is named must be there', async () => {
    const { code, err } = await lab.run('labup', ['--dry-run', '--file', 'lab.yaml']);
    expect([code, err]).toEqual([2, expect.stringContaining('lab.yaml  does not exist')]);
  });
});

describe('lab init', () => {
  it('writes the default lab, with a schema line that leads to a file from there', async () => {
    mkdirSync(join(lab.cwd, 'deep/er'), { recursive: true });
    for (const path of ['lab.yaml', 'deep/er/other.yaml']) {
      const { code, out, err } = await lab.run('lab', ['init', '--file', path]);
      expect([code, out, err]).toEqual([0, '', expect.stringContaining('npx labup --dry-run')]);
      const written = join(lab.cwd, path);
      const schema = /^# yaml-language-server: \$schema=(\S+)$/m.exec(readFileSync(written, 'utf8'))?.[1];
      expect(resolve(dirname(written), schema ?? '')).toBe(join(packageRoot, 'lab.schema.json'));
      expect(loadSpec(written)).toEqual(loadSpec(join(packageRoot, 'lab.yaml')));
    }
    expect((await lab.run('labup', ['--dry-run'])).err).toBe('');
  });

  it('never overwrites a file', async () => {
    writeFileSync(join(lab.cwd, 'lab.yaml'), 'mine');
    const { code, out } = await lab.run('lab', ['init', '--json']);
    const { error } = JSON.parse(out) as { error: { message: string; next: string } };
    expect([code, error.message]).toEqual([2, expect.stringContaining('lab.yaml exists already')]);
    expect(error.next).toContain('npx lab init --file PATH');
    expect(readFileSync(join(lab.cwd, 'lab.yaml'), 'utf8')).toBe('mine');
    renameSync(join(lab.cwd, 'lab.yaml'), join(lab.cwd, 'old.yaml'));
    const again = await lab.run('lab', ['init', '--json']);
    expect(JSON.parse(again.out)).toEqual({ schemaVersion: 1, file: join(lab.cwd, 'lab.yaml') });
  });

  it('says where it cannot write', async () => {
    const { code, err } = await lab.run('lab', ['init', '--file', 'none/lab.yaml']);
    expect([code, err]).toEqual([2, expect.stringContaining('none/lab.yaml cannot be written: ENOENT')]);
  });
});
