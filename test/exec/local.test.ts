import { existsSync, mkdtempSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { CommandError, type RunOptions } from '../../scripts/exec/executor.ts';
import { lineSplitter, localExecutor } from '../../scripts/exec/local.ts';
import { Interrupted } from '../../scripts/shared/errors.ts';
import { waitFor } from '../../scripts/shared/wait.ts';
import { markedEnv, ownChildren, processesWith } from '../fakes/processes.ts';

const { run } = localExecutor();
const env = markedEnv();

/** A command that prints its own arguments, one JSON list. */
const SHOW_ARGV = [
  process.execPath,
  '-e',
  'process.stdout.write(JSON.stringify(process.argv.slice(1)))',
  '--',
];

async function failureOf(argv: readonly string[], options?: RunOptions): Promise<CommandError> {
  const error = await run(argv, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CommandError);
  return error as CommandError;
}

/** Waits until nothing that the test started is left. */
async function nothingLeft(): Promise<void> {
  await waitFor({
    what: 'every process of the test to end',
    timeoutMs: 3_000,
    pollMs: 20,
    look: async () => {
      const left = processesWith(env);
      return left.length === 0 ? { done: true, value: undefined } : { done: false, why: left.join('; ') };
    },
  });
}

afterEach(async () => {
  await nothingLeft();
  expect(ownChildren().filter((line) => !line.includes('esbuild'))).toEqual([]);
});

describe('argv', () => {
  it.each([
    ['spaces and quotes', ['a b', `it's`, 'say "x"', '``$(id)', '\\']],
    ['newlines and tabs', ['one\ntwo', '\t', 'end\n']],
    ['globs and braces', ['*', '/etc/*', '{a,b}', '~', '[a-z]?']],
    ['empty and dashes', ['', '-n', '--', '--json']],
    ['shell words', ['&&', ';', '|', '>', '<', '#', '!', '$HOME', '%s']],
    ['other scripts', ['naïve', '日本', '🙂', '\u0007']],
  ])('reaches the program as it is: %s', async (_, words) => {
    const { stdout } = await run([...SHOW_ARGV, ...words], { env });
    expect(JSON.parse(stdout)).toEqual(words);
  });

  it('is no shell line', async () => {
    await failureOf(['echo a; echo b'], { env });
    await failureOf(['LAB_X=1'], { env });
  });
});

describe('input and output', () => {
  it('closes standard input where there is none', async () => {
    expect(await run(['cat'], { env, timeoutMs: 5_000 })).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  });

  it('hands over text and bytes', async () => {
    expect((await run(['cat'], { env, input: 'a\nb' })).stdout).toBe('a\nb');
    const { stdout } = await run(['od', '-An', '-tx1'], { env, input: Buffer.from([0, 255, 10]) });
    expect(stdout.trim()).toBe('00 ff 0a');
  });

  it('does not mind a program that reads none of it', async () => {
    await run(['true'], { env, input: 'x'.repeat(2 ** 21) });
  });

  it('keeps the two streams apart, as they are', async () => {
    const result = await run(['sh', '-c', 'printf " out \n\n"; printf "err" >&2'], { env });
    expect(result).toEqual({ exitCode: 0, stdout: ' out \n\n', stderr: 'err' });
  });

  it('hands over complete lines while the command runs', async () => {
    const lines: string[] = [];
    await run(['sh', '-c', 'printf one; printf "more\\ntwo\\n\\nlast"'], {
      env,
      onLine: (line) => lines.push(line),
    });
    expect(lines).toEqual(['onemore', 'two', '', 'last']);
  });

  it('runs in a folder and with an environment', async () => {
    const cwd = realpathSync(mkdtempSync(join(tmpdir(), 'local-')));
    const { stdout } = await run(['sh', '-c', 'pwd; echo "$LAB_X"'], { cwd, env: { ...env, LAB_X: 'a b' } });
    expect(stdout).toBe(`${cwd}\na b\n`);
  });
});

describe('a command that does not end well', () => {
  it('names place, command, code and the end of what it said', async () => {
    const error = await failureOf(['sh', '-c', `seq 1 30 >&2; exit 7`], { env });
    expect(error.message).toBe('sh failed on this host (exit code 7).');
    expect(error.exitCode).toBe(1);
    expect(error.outcome.exitCode).toBe(7);
    expect(error.details[0]).toBe(`command: sh -c 'seq 1 30 >&2; exit 7'`);
    expect(error.details.slice(1)).toEqual(Array.from({ length: 12 }, (_, index) => String(index + 19)));
  });

  it('can be pasted from its message', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paste me '));
    const script = join(folder, "it's here.sh");
    writeFileSync(script, 'echo "got: $1"; exit 3');
    const error = await failureOf(['sh', script, `a 'b' "c" $d`], { env });
    const pasted = error.details[0]?.replace('command: ', '') ?? '';
    const again = await run(['sh', '-c', pasted], { env, okCodes: [3] });
    expect(again.stdout).toBe(`got: a 'b' "c" $d\n`);
  });

  it('shows no secret: neither environment nor input', async () => {
    const error = await failureOf(['false'], { env: { ...env, TOKEN: 'hunter2' }, input: 'hunter3' });
    const said = JSON.stringify([
      error.message,
      error.details,
      error.next,
      error.argv,
      error.outcome,
      error.stack,
    ]);
    expect(said).not.toContain('hunter');
  });

  it('is an answer where its code is expected', async () => {
    expect((await run(['sh', '-c', 'exit 3'], { env, okCodes: [0, 3] })).exitCode).toBe(3);
    await failureOf(['true'], { env, okCodes: [3] });
  });

  it('tells a program that is not there from one that fails', async () => {
    const error = await failureOf(['no-such-program-of-the-lab'], { env });
    expect(error.outcome.exitCode).toBe(127);
    expect(error.details.join()).toContain('no-such-program-of-the-lab');
  });

  it('names the signal that ended it', async () => {
    expect((await failureOf(['sh', '-c', 'kill -9 $$'], { env })).message).toContain('SIGKILL');
  });
});

describe('the end of patience', () => {
  it('kills the command and what it started', async () => {
    const started = performance.now();
    const error = await failureOf(['sh', '-c', 'trap "" TERM; sleep 60 & sleep 60; echo no'], {
      env,
      timeoutMs: 300,
    });
    expect(error.message).toBe('sh failed on this host (timeout after 0.3 s).');
    expect(performance.now() - started).toBeLessThan(5_000);
    await nothingLeft();
  });

  it('keeps what was said until then', async () => {
    const error = await failureOf(['sh', '-c', 'echo so far; sleep 60'], { env, timeoutMs: 300 });
    expect(error.details.at(-1)).toBe('so far');
  });

  it('does not wait for one that went away and still holds the pipe', async () => {
    const pid = join(mkdtempSync(join(tmpdir(), 'local-')), 'pid');
    const script = `setsid sh -c 'echo $$ > ${pid}; exec sleep 60' & sleep 60`;
    await failureOf(['sh', '-c', script], { env, timeoutMs: 500 });
    process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
  });

  it('lets a command put things in order after Ctrl-C, and kills one that does not end', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'local-')), 'in-order');
    const controller = new AbortController();
    const tidy = run(
      ['sh', '-c', `trap 'touch ${file}; exit 1' TERM; echo ready; while :; do sleep 0.05; done`],
      {
        env,
        signal: controller.signal,
        onLine: () => controller.abort(),
      },
    );
    await expect(tidy).rejects.toBeInstanceOf(Interrupted);
    expect(existsSync(file)).toBe(true);

    const again = new AbortController();
    const deaf = run(['sh', '-c', `trap '' TERM; echo ready; while :; do sleep 0.05; done`], {
      env,
      signal: again.signal,
      onLine: () => again.abort(),
    });
    await expect(deaf).rejects.toBeInstanceOf(Interrupted);
  });

  it('ends with Ctrl-C, at once and without a trace', async () => {
    const controller = new AbortController();
    const running = run(['sh', '-c', 'sleep 60 & sleep 60'], { env, signal: controller.signal });
    await waitFor({
      what: 'the command to run',
      timeoutMs: 3_000,
      pollMs: 10,
      look: async () =>
        processesWith(env).some((line) => line === 'sleep 60')
          ? { done: true, value: undefined }
          : { done: false, why: 'not yet' },
    });
    controller.abort();
    await expect(running).rejects.toBeInstanceOf(Interrupted);
    await nothingLeft();
  });

  it('starts nothing after Ctrl-C', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'local-')), 'made');
    await expect(run(['touch', file], { env, signal: AbortSignal.abort() })).rejects.toBeInstanceOf(
      Interrupted,
    );
    await failureOf(['test', '-e', file], { env });
  });
});

describe('lineSplitter', () => {
  it('puts characters together that arrive in pieces', () => {
    const lines: string[] = [];
    const splitter = lineSplitter((line) => lines.push(line));
    for (const byte of Buffer.from('größe 🙂\nende ü')) splitter.push(Buffer.from([byte]));
    splitter.end();
    expect(lines).toEqual(['größe 🙂', 'ende ü']);
  });

  it('hands over nothing for nothing', () => {
    const lines: string[] = [];
    const splitter = lineSplitter((line) => lines.push(line));
    splitter.push(Buffer.from('a\n'));
    splitter.end();
    splitter.end();
    expect(lines).toEqual(['a']);
  });
});
