import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { realHandlers } from '../../scripts/cli/handlers.ts';
import { program } from '../../scripts/cli/program.ts';
import { buildReport } from '../../scripts/report/json.ts';
import type { LabRun } from '../../scripts/report/run.ts';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';
import { fakeTerminal } from '../fakes/terminal.ts';
import { CELLS, POSITIVE, runOf, TIMEOUT } from '../report/fixtures.ts';

let lab: FakeLab;

beforeEach(() => {
  lab = fakeLab();
});

describe('the exit code and output of a run', () => {
  /** labtest whose run has ended as given. */
  async function withRun(run: LabRun, argv: readonly string[]) {
    const terminal = fakeTerminal({ cwd: lab.cwd });
    const handlers = realHandlers(
      (args) => lab.deps(terminal, args.json === true),
      terminal,
      async () => ({ run, planned: CELLS, report: buildReport(run, CELLS) }),
    );
    await program('labtest', handlers, {}).parseAsync([...argv], { from: 'user' });
    return { code: handlers.exitCode(), out: terminal.out(), err: terminal.err() };
  }
  const flaky = () => runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: {} } });

  it.each([
    ['everything is as it should be', runOf(), [], 0],
    ['a cell is wrong', runOf({ first: { [POSITIVE]: TIMEOUT }, second: { [POSITIVE]: TIMEOUT } }), [], 1],
    ['a cell was right at the second try', flaky(), [], 0],
    ['a cell was right at the second try, and that is not enough', flaky(), ['--strict'], 3],
    ['a probe could not be run', runOf({ broken: ['ubuntu'] }), [], 4],
  ])('where %s', async (_, run, argv, code) => {
    const plain = await withRun(run, argv);
    expect(plain.code).toBe(code);
    expect(plain.out.trim().split('\n').length).toBeGreaterThan(5);
    const json = await withRun(run, [...argv, '--json']);
    expect(json.code).toBe(code);
    const report = JSON.parse(json.out) as { schemaVersion: number; summary: Record<string, number> };
    expect(report.schemaVersion).toBeGreaterThan(0);
    const { planned, ...rest } = report.summary;
    expect(Object.values(rest).reduce((sum, count) => sum + count, 0)).toBe(planned);
  });

  it('is also written as JUnit XML, into a folder that is made', async () => {
    const file = join(lab.cwd, 'reports', 'junit.xml');
    await withRun(runOf(), ['--junit', 'reports/junit.xml']);
    const first = readFileSync(file, 'utf8');
    expect(first).toContain('<testsuite');
    expect(existsSync(`${file}.new`)).toBe(false);
    const inode = statSync(file).ino;
    await withRun(runOf(), ['--junit', file]);
    expect(statSync(file).ino).not.toBe(inode);
  });

  it('says so where the JUnit file cannot be written, and leaves nothing half', async () => {
    const file = join(lab.cwd, 'junit.xml');
    mkdirSync(file);
    await expect(withRun(runOf(), ['--junit', file])).rejects.toMatchObject({ exitCode: 2 });
    expect(existsSync(`${file}.new`)).toBe(false);
  });
});

describe('labtest against a lab', () => {
  it('needs one: exit 2 and what to do', async () => {
    const { code, err } = await lab.run('labtest', []);
    expect(code).toBe(2);
    expect(err).toMatch(/There is no lab here yet\.[\s\S]+next: {2}npx labup --yes/);
  });

  it('tests what is there: probes from every machine and the client pod', async () => {
    await lab.run('labup', ['--yes']);
    lab.asked.length = 0;
    const { code, out, err } = await lab.run('labtest', ['--json']);
    const report = JSON.parse(out) as {
      summary: { planned: number; harness: number };
      cells: { from: string }[];
    };
    // The fake machines have no probe, so nothing is known; that is never "as expected".
    expect([code, err]).toEqual([4, '']);
    expect(report.summary.planned).toBeGreaterThan(90);
    expect(new Set(report.cells.map(({ from }) => from)).size).toBe(8);
  });

  it.each([
    [
      'no machine can be reached',
      (each: FakeLab) => {
        each.connect = async () => {
          throw new Error('no route to host');
        };
      },
    ],
    [
      'the cluster does not answer',
      (each: FakeLab) => {
        each.reply = (line) =>
          /get (nodes|services)/.test(line) ? { exitCode: 1, stderr: 'connection refused' } : undefined;
      },
      'connection refused',
    ],
    [
      'the cluster answers nonsense',
      (each: FakeLab) => {
        each.reply = (line) => (/get (nodes|services)/.test(line) ? 'not json' : undefined);
      },
    ],
  ])('is a failure of the harness where %s: exit 4, said in every format', async (_, breakIt, says?) => {
    await lab.run('labup', ['--yes']);
    breakIt(lab);
    const { code, out, err } = await lab.run('labtest', ['--json', '--junit', 'junit.xml']);
    expect([code, err]).toEqual([4, '']);
    const { schemaVersion, error } = JSON.parse(out);
    expect([schemaVersion, error.code]).toEqual([1, 'harness']);
    if (says !== undefined) expect(error.details).toContain(says);
    const junit = readFileSync(join(lab.cwd, 'junit.xml'), 'utf8');
    expect(junit).toContain('<error');
    expect(junit).not.toContain('<failure');
  });

  it('is Ctrl-C and no failure of the harness where it was Ctrl-C', async () => {
    await lab.run('labup', ['--yes']);
    const controller = new AbortController();
    lab.connect = async () => {
      controller.abort();
      throw new Error('still booting');
    };
    const { code, err } = await lab.run('labtest', [], { signal: controller.signal });
    expect(code).toBe(130);
    expect(err).toContain('Interrupted.');
  });

  it('does not start to build where the cache is gone', async () => {
    await lab.run('labup', ['--yes']);
    lab.missing = [{ name: 'Kubernetes', minutes: 5 }];
    const { code, err } = await lab.run('labtest', []);
    expect(code).toBe(2);
    expect(err).toContain('missing: Kubernetes');
    expect(lab.missing).toHaveLength(1);
  });

  it('keeps its hands off a state that is damaged', async () => {
    await lab.run('labup', ['--yes']);
    writeFileSync(join(lab.cwd, '.lab/bgp-lab/plan.json'), '{');
    const { code, err } = await lab.run('labtest', []);
    expect(code).toBe(2);
    expect(err).toContain('plan.json is damaged');
  });
});
