import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { display } from '../../scripts/cli/deps.ts';
import { liveSteps } from '../../scripts/cli/live-steps.ts';
import { plainSteps } from '../../scripts/cli/plain-steps.ts';
import { durationText, leftText, progressText, slowestText } from '../../scripts/cli/text.ts';
import { type ReadyStep, Steps, type StepTiming, timed, unseenSteps } from '../../scripts/commands/steps.ts';
import { LabFailure } from '../../scripts/shared/errors.ts';
import type { Emit } from '../../scripts/shared/events.ts';
import { type FakeTerminal, fakeTerminal } from '../fakes/terminal.ts';

const NAMES = ['Bridge and storage', 'Machines', 'Routes'];

/** Three steps, of which these do something of their own. */
function steps(...runs: readonly ReadyStep['run'][]): readonly ReadyStep[] {
  return NAMES.map((title, index) => ({ id: title, title, why: 'x', run: runs[index] ?? done }));
}

const rejections: unknown[] = [];
const onRejection = (reason: unknown) => rejections.push(reason);
beforeEach(() => void process.on('unhandledRejection', onRejection));
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', onRejection);
  expect(rejections.splice(0)).toEqual([]);
});

const done = async () => true;
const unchanged = async () => false;
const fail = async (emit: Emit) => {
  emit({ type: 'note', text: 'waiting for bgp' });
  throw new LabFailure('no power');
};

describe('the steps of a command', () => {
  const twice = new Steps<{ readonly a: number }>()
    .step({ id: 'double', title: 'Double', why: 'x', run: async ({ a }) => ({ changed: true, b: 2 * a }) })
    .stepIf(false, { id: 'never', title: 'Never', why: 'x', run: neverRun })
    .and(
      new Steps<{ readonly a: number; readonly b: number }>().step({
        id: 'add',
        title: 'Add',
        why: 'x',
        run: async ({ a, b }) => ({ changed: false, a: a + b, c: `${a}+${b}` }),
      }),
    );

  async function neverRun(): Promise<never> {
    throw new Error('not needed');
  }

  it('are given what those before them returned, and tell what they changed', async () => {
    const timings: StepTiming[] = [];
    expect(twice.titles.map(({ title }) => title)).toEqual(['Double', 'Add']);
    expect(await twice.run({ a: 3 }, timed(unseenSteps, timings))).toEqual({ a: 9, b: 6, c: '3+6' });
    expect(timings.map(({ step, changed }) => [step, changed])).toEqual([
      ['double', true],
      ['add', false],
    ]);
  });

  it('end where one fails', async () => {
    const all = new Steps<object>()
      .step({ id: 'fails', title: 'Fails', why: 'x', run: () => Promise.reject(new LabFailure('no power')) })
      .step({ id: 'never', title: 'Never', why: 'x', run: neverRun });
    await expect(all.run({}, unseenSteps)).rejects.toThrow('no power');
  });
});

describe('plain steps', () => {
  /** The lines that a run writes, without their times. */
  async function linesOf(all: readonly ReadyStep[]): Promise<readonly string[]> {
    const lines: string[] = [];
    await plainSteps(all, (line) => lines.push(line)).catch(() => {});
    expect(lines.every((line) => /^\[ +\d+\.\d s\] /.test(line))).toBe(true);
    return lines.map((line) => line.replace(/^\[.*?\] /, '').replace(/\d+\.\d s/, 'T'));
  }

  it('say what begins, what goes on and what came of it, each once', async () => {
    const telling = async (emit: Emit) => {
      emit({ type: 'note', text: 'lxd 5.0.2' });
      emit({ type: 'note', text: 'lxd 5.0.2' });
      emit({ type: 'warning', text: 'slow disk' });
      emit({ type: 'progress', done: 1, total: 3, secondsLeft: 90 });
      return true;
    };
    expect(await linesOf(steps(telling, unchanged).slice(0, 2))).toEqual([
      '1/2 Bridge and storage ...',
      '  lxd 5.0.2',
      '  warning: slow disk',
      '  33 %, about 2 min left',
      '1/2 Bridge and storage: done (T)',
      '2/2 Machines ...',
      '2/2 Machines: ok, nothing changed (T)',
    ]);
  });

  it('say what failed, and end there', async () => {
    expect(await linesOf(steps(done, fail))).toEqual([
      '1/3 Bridge and storage ...',
      '1/3 Bridge and storage: done (T)',
      '2/3 Machines ...',
      '  waiting for bgp',
      '2/3 Machines: FAILED after T',
    ]);
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
    const first = async (emit: Emit) => {
      emit({ type: 'note', text: 'starting lxd' });
      await expect.poll(() => stripVTControlCharacters(terminal.err())).toContain('starting lxd');
      const shown = stripVTControlCharacters(terminal.err());
      for (const title of NAMES) expect(shown).toContain(title);
      return true;
    };
    await liveSteps(steps(first, unchanged), terminal.stderr);
    expect(lastFrame()).toMatchInlineSnapshot(`
      [
        "✔ Bridge and storage",
        "✔ Machines (nothing changed)",
        "✔ Routes",
      ]
    `);
  });

  it('show what failed, and what was not come to; the error is that of the step', async () => {
    const all = steps(done, fail);
    await expect(liveSteps(all, terminal.stderr)).rejects.toThrow(LabFailure);
    expect(lastFrame()).toMatchInlineSnapshot(`
      [
        "✔ Bridge and storage",
        "✖ Machines",
        "◼ Routes",
      ]
    `);
  });

  it('let nothing through to standard output', async () => {
    const write = process.stdout.write;
    const seen: string[] = [];
    process.stdout.write = ((text: string) => seen.push(text) > 0) as typeof process.stdout.write;
    try {
      await liveSteps(steps(), terminal.stderr);
    } finally {
      process.stdout.write = write;
    }
    expect(seen.join('')).not.toContain('Bridge');
  });

  it('give the stream back, so that a result can be written after them', async () => {
    await liveSteps(steps(), terminal.stderr);
    terminal.stderr.write('up  lab "x" is up\n');
    expect(stripVTControlCharacters(terminal.err())).toMatch(/Routes.*\nup {2}lab "x" is up\n$/);
  });
});

describe('what is shown where', () => {
  const shownOn = async (options: { tty: boolean; env?: Record<string, string> }, quiet: boolean) => {
    const terminal = fakeTerminal({ cwd: '/', ...options });
    await display(terminal, quiet).runSteps(steps());
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
