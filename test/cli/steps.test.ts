import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { durationText, leftText, progressText } from '../../scripts/cli/clock-text.ts';
import { display } from '../../scripts/cli/deps.ts';
import { liveSteps } from '../../scripts/cli/live-steps.ts';
import { plainSteps } from '../../scripts/cli/plain-steps.ts';
import { slowestText } from '../../scripts/cli/timing-text.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import type { Emit } from '../../scripts/shared/events.ts';
import { type FakeTerminal, fakeTerminal } from '../fakes/terminal.ts';

const TITLES = [
  { id: 'host', title: 'Bridge and storage', why: 'x' },
  { id: 'machines', title: 'Machines', why: 'x' },
  { id: 'routes', title: 'Routes', why: 'x' },
];

const rejections: unknown[] = [];
const onRejection = (reason: unknown) => rejections.push(reason);
beforeEach(() => void process.on('unhandledRejection', onRejection));
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', onRejection);
  expect(rejections.splice(0)).toEqual([]);
});

const done = async () => ({ value: undefined, changed: true });
const fail = async (emit: Emit) => {
  emit({ type: 'note', text: 'waiting for bgp' });
  throw new LabFailure('no power');
};

describe('plain steps', () => {
  /** The lines that a run writes, without their times. */
  async function linesOf(
    work: (steps: ReturnType<typeof plainSteps>) => Promise<unknown>,
  ): Promise<readonly string[]> {
    const lines: string[] = [];
    await work(plainSteps(TITLES, (line) => lines.push(line))).catch(() => {});
    expect(lines.every((line) => /^\[ +\d+\.\d s\] /.test(line))).toBe(true);
    return lines.map((line) => line.replace(/^\[.*?\] /, '').replace(/\d+\.\d s/, 'T'));
  }

  it('say what begins, what goes on and what came of it, each once', async () => {
    const lines = await linesOf(async (steps) => {
      const value = await steps.run('host', async (emit) => {
        emit({ type: 'note', text: 'lxd 5.0.2' });
        emit({ type: 'note', text: 'lxd 5.0.2' });
        emit({ type: 'warning', text: 'slow disk' });
        emit({ type: 'progress', done: 1, total: 3, secondsLeft: 90 });
        return { value: 7, changed: true };
      });
      expect(value).toBe(7);
      await steps.run('machines', async () => ({ value: undefined, changed: false }));
    });
    expect(lines).toEqual([
      '1/3 Bridge and storage ...',
      '  lxd 5.0.2',
      '  warning: slow disk',
      '  33 %, about 2 min left',
      '1/3 Bridge and storage: done (T)',
      '2/3 Machines ...',
      '2/3 Machines: ok, nothing changed (T)',
    ]);
  });

  it('say what failed', async () => {
    const lines = await linesOf((steps) => steps.run('machines', fail));
    expect(lines).toEqual(['2/3 Machines ...', '  waiting for bgp', '2/3 Machines: FAILED after T']);
  });
});

describe('live steps', () => {
  let terminal: FakeTerminal;

  beforeEach(() => {
    terminal = fakeTerminal({ cwd: '/', tty: true });
  });

  /** The last picture of the list, without colors and times. */
  function lastFrame(): readonly string[] {
    const text = stripVTControlCharacters(terminal.err());
    const lines = text.slice(text.lastIndexOf('Bridge and storage') - 2).split('\n');
    return lines.map((line) => line.replace(/ \[[\d.]+m?s\]/, '').trimEnd()).filter((line) => line !== '');
  }

  it('show every step from the start, and at the end what came of each', async () => {
    const steps = liveSteps(TITLES, terminal.stderr);
    await steps.run('host', async (emit) => {
      emit({ type: 'note', text: 'starting lxd' });
      await expect.poll(() => stripVTControlCharacters(terminal.err())).toContain('starting lxd');
      const shown = stripVTControlCharacters(terminal.err());
      for (const { title } of TITLES) expect(shown).toContain(title);
      return { value: undefined, changed: true };
    });
    expect(await steps.run('machines', async () => ({ value: 7, changed: false }))).toBe(7);
    await steps.run('routes', done);
    await steps.close();
    expect(lastFrame()).toMatchInlineSnapshot(`
      [
        "✔ Bridge and storage",
        "✔ Machines (nothing changed)",
        "✔ Routes",
      ]
    `);
  });

  it('show what failed, and what was not come to', async () => {
    const steps = liveSteps(TITLES, terminal.stderr);
    await steps.run('host', done);
    await expect(steps.run('machines', fail)).rejects.toThrow('no power');
    await steps.close();
    expect(lastFrame()).toMatchInlineSnapshot(`
      [
        "✔ Bridge and storage",
        "✖ Machines",
        "◼ Routes",
      ]
    `);
  });

  it('can be closed before anything ran, and twice', async () => {
    const steps = liveSteps(TITLES, terminal.stderr);
    await steps.close();
    await steps.close();
    await expect(liveSteps(TITLES, terminal.stderr).run('nothing', done)).rejects.toThrow('no step nothing');
  });

  it('let nothing through to standard output', async () => {
    const write = process.stdout.write;
    const seen: string[] = [];
    process.stdout.write = ((text: string) => seen.push(text) > 0) as typeof process.stdout.write;
    try {
      const steps = liveSteps(TITLES, terminal.stderr);
      await steps.run('host', done);
      await steps.close();
    } finally {
      process.stdout.write = write;
    }
    expect(seen.join('')).not.toContain('Bridge');
  });

  it('give the stream back, so that a result can be written after them', async () => {
    const steps = liveSteps(TITLES, terminal.stderr);
    for (const { id } of TITLES) await steps.run(id, done);
    await steps.close();
    terminal.stderr.write('up  lab "x" is up\n');
    expect(stripVTControlCharacters(terminal.err())).toMatch(/Routes.*\nup {2}lab "x" is up\n$/);
  });
});

describe('what is shown where', () => {
  const shownOn = async (options: { tty: boolean; env?: Record<string, string> }, quiet: boolean) => {
    const terminal = fakeTerminal({ cwd: '/', ...options });
    const { steps, closeDisplay } = display(terminal, quiet);
    await steps(TITLES).run('host', done);
    await closeDisplay();
    return terminal.err();
  };

  it('is a live list on a terminal, plain lines in a pipe or CI, nothing with --json', async () => {
    expect(await shownOn({ tty: true }, false)).toContain('\u001b[');
    expect(await shownOn({ tty: true, env: { CI: '1' } }, false)).toMatch(/^\[.*1\/3/);
    expect(await shownOn({ tty: false }, false)).toMatch(/^\[.*1\/3/);
    expect(await shownOn({ tty: true }, true)).toBe('');
  });
});

describe('times in words', () => {
  it.each([
    [0, '0.0 s'],
    [9_940, '9.9 s'],
    [9_960, '10 s'],
    [12_400, '12 s'],
    [59_400, '59 s'],
    [59_600, '1 min 00 s'],
    [125_000, '2 min 05 s'],
    [3_600_000, '60 min 00 s'],
  ])('%d ms is %s', (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });

  it('estimates what is left', () => {
    expect([0, 45, 60, 61, 601].map(leftText)).toEqual([
      'about 1 s left',
      'about 45 s left',
      'about 1 min left',
      'about 2 min left',
      'about 11 min left',
    ]);
    expect([progressText(1, 3), progressText(0, 0), progressText(3, 3, 1)]).toEqual([
      '33 %',
      '100 %',
      '100 %, about 1 s left',
    ]);
  });

  it('names the five slowest steps', () => {
    const timings = [3, 9, 1, 5, 7, 2].map((seconds) => ({
      step: `s${seconds}`,
      ms: seconds * 1000,
      changed: true,
    }));
    expect(slowestText(timings)).toBe('slowest steps: s9 9.0 s, s7 7.0 s, s5 5.0 s, s3 3.0 s, s2 2.0 s');
  });
});
