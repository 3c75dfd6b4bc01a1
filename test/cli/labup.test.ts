import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { StepTiming } from '../../scripts/commands/steps.ts';
import type { SeenFacts } from '../../scripts/machines/host-facts.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import { type FakeLab, fakeLab, filesOf } from '../fakes/lab.ts';
import { ownChildren } from '../fakes/processes.ts';
import { DEBIAN_KERNEL, GOOD_HOST } from '../plan/doctor/good-host.ts';

let lab: FakeLab;

beforeEach(() => {
  lab = fakeLab();
});

/** Nothing was run, made or written. */
function expectUntouched(before: Readonly<Record<string, string>>): void {
  expect(filesOf(lab.cwd)).toEqual(before);
  expect([lab.driver.calls, lab.local.lines(), lab.asked, lab.interactive]).toEqual([[], [], [], []]);
}

describe('labup', () => {
  it('brings a lab up, and changes nothing the second time', async () => {
    const first = await lab.run('labup', ['--yes']);
    expect(first.err).toContain('lab "bgp-lab" is up');
    expect(first.err).toContain('slowest steps: ');
    expect([first.code, first.out]).toEqual([0, '']);
    const second = await lab.run('labup', ['--yes']);
    expect(second.err).toContain('was up already, nothing changed');
    expect(second.code).toBe(0);
    expect(ownChildren().filter((line) => line.includes('sh -c'))).toEqual([]);
  });

  it('keeps what it made in a folder that only the user can read', async () => {
    await lab.run('labup', ['--yes']);
    const dir = join(lab.cwd, '.lab', 'bgp-lab');
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    const files = [
      'plan.json',
      'secrets.json',
      'id_ed25519',
      'known_hosts',
      'ssh_config',
      'kubeconfig',
      'timings.json',
    ];
    for (const file of [...files, 'journal.ndjson'])
      expect(statSync(join(dir, file)).mode & 0o777).toBe(0o600);
    expect(existsSync(join(dir, 'lock.json'))).toBe(false);
    const timings = JSON.parse(readFileSync(join(dir, 'timings.json'), 'utf8')) as { step: string }[];
    expect(timings.map(({ step }) => step)).toContain('control-plane');
    const secrets = JSON.parse(readFileSync(join(dir, 'secrets.json'), 'utf8')) as { bgpPassword: string };
    const told =
      readFileSync(join(dir, 'journal.ndjson'), 'utf8') + lab.local.lines().join() + lab.asked.join();
    expect(told).not.toContain(secrets.bgpPassword);
  });

  it('prints one JSON document with --json, and nothing else on standard output', async () => {
    const { code, out } = await lab.run('labup', ['--yes', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, lab: 'bgp-lab', changed: true });
    const { timings, processorMs, leastMs } = JSON.parse(out) as {
      timings: StepTiming[];
      processorMs: number;
      leastMs: number;
    };
    const sum = (of: (timing: StepTiming) => number | undefined) =>
      timings.reduce((all, timing) => all + (of(timing) ?? Number.NaN), 0);
    expect([processorMs, leastMs]).toEqual([sum((each) => each.processorMs), sum((each) => each.leastMs)]);
    for (const { ms, leastMs: least = Number.NaN } of timings) expect(least).toBeLessThanOrEqual(ms);
  });

  it('says what each step took with --timings', async () => {
    const { err } = await lab.run('labup', ['--yes', '--timings']);
    for (const step of ['host', 'machines', 'control-plane', 'join', 'all'])
      expect(err).toMatch(new RegExp(`^${step} +\\d\\S* s +\\d\\S* s +\\d\\S* s$`, 'm'));
    expect(err).toMatch(/^\d+\.\d\d times its critical path$/m);
  });

  it('is the same as `lab up`', async () => {
    expect((await lab.run('lab', ['up', '--yes'])).code).toBe(0);
    expect(lab.driver.things.filter(({ kind }) => kind === 'machine')).toHaveLength(7);
  });

  it('continues after a failure, and tells which step failed', async () => {
    const connect = lab.connect;
    lab.connect = async () => {
      lab.connect = connect;
      throw new LabFailure('no power');
    };
    lab.driver.ensureMachines = async () => {
      throw new LabFailure('Not made: bgp.', { details: ['bgp: no space left'], next: 'npx labup --yes' });
    };
    const failed = await lab.run('labup', ['--yes']);
    expect(failed.code).toBe(1);
    expect(failed.err).toMatch(
      /4\/10 Machines: FAILED[\s\S]+error: Not made: bgp\.\n {2}bgp: no space left\nnext: {2}npx labup --yes/,
    );
    const journal = readFileSync(join(lab.cwd, '.lab/bgp-lab/journal.ndjson'), 'utf8').trim().split('\n');
    expect(JSON.parse(journal.at(-1) ?? '')).toMatchObject({
      step: 'machines',
      outcome: 'failed',
      message: 'Not made: bgp.',
    });
    const again = fakeLab();
    lab.driver.ensureMachines = again.driver.ensureMachines;
    expect((await lab.run('labup', ['--yes'])).code).toBe(0);
  });
});

describe('labup --dry-run', () => {
  it('prints the plan and touches nothing', async () => {
    lab.missing = [{ name: 'Kubernetes', minutes: 5 }];
    lab.packages = [{ package: 'lxd', for: 'the machines' }];
    const before = filesOf(lab.cwd);
    const { code, out, err } = await lab.run('labup', ['--dry-run']);
    expect([code, err]).toEqual([0, '']);
    for (const piece of [
      'k8sworker3',
      '192.168.13.37',
      '65001',
      'lxd (the machines)',
      'Kubernetes (about 5 min)',
    ]) {
      expect(out).toContain(piece);
    }
    expectUntouched(before);
  });

  it('prints the plan as data with --json', async () => {
    const before = filesOf(lab.cwd);
    const { out } = await lab.run('labup', ['--dry-run', '--json', '--echo', 'simple']);
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, lab: 'bgp-lab', echo: { variant: 'simple' } });
    expectUntouched(before);
  });
});

describe('bad input stops labup with exit 2 before anything is touched', () => {
  it.each([
    ['an unknown key', 'version: 1\nbananas: 3\n', [], 'bananas'],
    ['YAML that is no map', '- a\n', [], 'lab.yaml:1:1'],
    ['an unknown option', undefined, ['--bananas'], "unknown option '--bananas'"],
    ['a value that is no choice', undefined, ['--echo', 'loud'], 'Allowed choices are'],
    ['an argument too many', undefined, ['now'], 'too many arguments'],
    ['a file that is not there', undefined, ['-f', 'other.yaml'], 'other.yaml'],
    ['a driver that this version lacks', undefined, ['--driver', 'multipass'], 'multipass'],
  ])('%s', async (_, spec, argv, text) => {
    if (spec !== undefined) lab = fakeLab(spec);
    const before = filesOf(lab.cwd);
    const { code, out, err } = await lab.run('labup', ['--yes', ...argv]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(text);
    expectUntouched(before);
    const asJson = await lab.run('labup', ['--yes', '--json', ...argv]);
    const document = JSON.parse(asJson.out) as {
      error: { code: string; message: string; details: string[] };
    };
    expect([asJson.code, document.error.code]).toEqual([2, 'user-must-act']);
    expect(`${document.error.message} ${document.error.details.join()}`).toContain(text);
    expectUntouched(before);
  });

  const [LXD] = GOOD_HOST.daemons;
  it.each<[string, Partial<SeenFacts>, string]>([
    ['no root', { uid: 1000 }, 'user 1000 is not root'],
    ['too little memory', { freeMemoryBytes: 2 ** 28 }, 'too little memory'],
    [
      'too little disk',
      { disks: [{ use: 'machines', path: '/var', device: 1, freeBytes: 2 ** 28 }] },
      'too little disk',
    ],
    [
      'a container daemon of long ago',
      { daemons: LXD ? [{ ...LXD, version: '4.0.9' }] : [] },
      'lxd 4.0.9 is too old',
    ],
    ["somebody else's bridge", { links: ['labbr0'], bridgeIsOurs: false }, 'labbr0'],
  ])('%s', async (_, facts, text) => {
    lab.facts = facts;
    const before = filesOf(lab.cwd);
    const { code, out, err } = await lab.run('labup', ['--yes']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(text);
    expectUntouched(before);
  });

  it('everything that is wrong with the host, at once', async () => {
    lab.facts = {
      uid: 1000,
      freeMemoryBytes: 0,
      kmsg: false,
      kernel: { ...DEBIAN_KERNEL, config: new Map() },
    };
    const before = filesOf(lab.cwd);
    const { err } = await lab.run('labup', ['--yes']);
    for (const text of ['user 1000 is not root', 'too little memory', '/dev/kmsg', 'has no TCP_MD5SIG']) {
      expect(err).toContain(text);
    }
    expectUntouched(before);
  });

  it('says so as one JSON document with --json', async () => {
    lab.facts = { uid: 1000 };
    const { code, out, err } = await lab.run('labup', ['--yes', '--json']);
    expect([code, err]).toEqual([2, '']);
    expect(JSON.parse(out)).toEqual({
      schemaVersion: 1,
      error: {
        code: 'user-must-act',
        message: 'This host cannot take the lab as it is.',
        details: [expect.stringContaining('user 1000 is not root')],
        next: expect.stringContaining('nothing was changed'),
      },
    });
  });

  it('other settings than those that the lab was made with', async () => {
    await lab.run('labup', ['--yes']);
    writeFileSync(join(lab.cwd, 'lab.yaml'), 'version: 1\nbgp:\n  clusterAsn: 65010\n');
    lab.driver.calls.length = 0;
    const { code, err } = await lab.run('labup', ['--yes']);
    expect(code).toBe(2);
    expect(err).toContain(
      'Lab "bgp-lab" was made with other settings.\n  bgp.clusterAsn: 65001 when the lab was made, now 65010\nnext:',
    );
    expect(err).toContain('npx labdown --yes && npx labup --yes');
    expect(lab.driver.calls).toEqual([]);
  });

  it('but another echo variant is taken on', async () => {
    await lab.run('labup', ['--yes']);
    const { code, err } = await lab.run('labup', ['--dry-run', '--echo', 'simple']);
    expect([code, err]).toEqual([0, '']);
  });
});

describe('consent', () => {
  beforeEach(() => {
    lab.packages = [{ package: 'lxd', for: 'the machines' }];
  });

  it('is not asked for off a terminal: exit 2 with what would have been done', async () => {
    const before = filesOf(lab.cwd);
    const { code, err } = await lab.run('labup', []);
    expect(code).toBe(2);
    expect(err).toMatch(/would install lxd with apt\nnext: {2}npx labup --yes/);
    expectUntouched(before);
  });

  it('is not asked for with --json, not even on a terminal', async () => {
    const { code, out } = await lab.run('labup', ['--json'], { tty: true });
    expect([code, (JSON.parse(out) as { error: { next: string } }).error.next]).toEqual([
      2,
      'npx labup --yes',
    ]);
  });

  it.each([['n\n'], ['\n'], ['nonsense\n'], ['\u0004']])(
    'is refused on a terminal with %j',
    async (typed) => {
      const before = filesOf(lab.cwd);
      const ran = await lab.run('labup', [], { tty: true, meanwhile: ({ type }) => type(typed) });
      expect(ran.code).toBe(2);
      expect(ran.err).toContain('Go ahead? [y/N]');
      expect(ran.err).toContain('Stopped: nothing was changed.');
      expectUntouched(before);
    },
  );

  it('is given on a terminal with y', async () => {
    const env = { CI: 'true' };
    const ran = await lab.run('labup', [], { tty: true, env, meanwhile: ({ type }) => type('y\n') });
    expect(ran.code).toBe(0);
    expect(lab.local.lines()).toContain('apt-get install --yes --no-install-recommends lxd');
  });

  it('is for what was seen: what only an installed program shows stops labup before anything is made', async () => {
    lab.reply = (line) => {
      if (line.startsWith('apt-get install')) lab.facts = { uid: 1000 };
      return '';
    };
    const { code, err } = await lab.run('labup', ['--yes']);
    expect(code).toBe(2);
    expect(err).toMatch(/Host packages: FAILED[\s\S]*user 1000 is not root/);
    expect(lab.driver.calls).not.toContainEqual(expect.stringContaining('ensureHost'));
  });

  it('ends with Ctrl-C, which on a terminal is a key', async () => {
    const before = filesOf(lab.cwd);
    const ran = await lab.run('labup', [], { tty: true, meanwhile: ({ type }) => type('\u0003') });
    expect(ran.code).toBe(130);
    expectUntouched(before);
  });
});

describe('an end from outside', () => {
  it('is Ctrl-C: exit 130, the step is told, the lock is gone', async () => {
    const controller = new AbortController();
    lab.connect = async () => {
      controller.abort();
      throw new Error('still booting');
    };
    const { code, err } = await lab.run('labup', ['--yes'], { signal: controller.signal });
    expect(code).toBe(130);
    expect(err).toContain('Machines: FAILED');
    expect(err).toContain('Interrupted.');
    expect(existsSync(join(lab.cwd, '.lab/bgp-lab/lock.json'))).toBe(false);
  });

  it('is Ctrl-C also where a child of ours died of it first', async () => {
    const controller = new AbortController();
    lab.driver.ensureImage = async () => {
      controller.abort();
      throw new LabFailure('unsquashfs failed on this host (SIGINT).');
    };
    const { code, out } = await lab.run('labup', ['--yes', '--json'], { signal: controller.signal });
    expect([code, (JSON.parse(out) as { error: { code: string } }).error.code]).toEqual([130, 'interrupted']);
  });
});

describe('a bug in the lab', () => {
  it('is exit 70, with a place to look at and what to do', async () => {
    lab.driver.ensureHost = async () => {
      throw new TypeError('x is not a function');
    };
    const { code, err } = await lab.run('labup', ['--yes']);
    expect(code).toBe(70);
    expect(err).toContain('This is a bug in the lab: x is not a function');
    expect(err).toContain('labup.test.ts');
    expect(err).toContain('report it with the lines above');
    const asJson = await lab.run('labup', ['--yes', '--json']);
    expect(asJson.code).toBe(70);
    expect(JSON.parse(asJson.out)).toMatchObject({
      schemaVersion: 1,
      error: { code: 'bug', message: 'x is not a function' },
    });
  });
});
