import { StringDecoder } from 'node:string_decoder';
import { $, ProcessOutput } from 'zx';
import { Interrupted } from '../shared/errors.ts';
import { CommandError } from './command-error.ts';
import type { Executor, RunOptions, RunResult } from './executor.ts';

/** Runs commands on this host with zx. The argv reaches the program as it is: zx quotes every word for its own bash. */
export function localExecutor(): Executor {
  return { where: 'this host', run: runLocal };
}

async function runLocal(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { input, timeoutMs, signal, env, cwd, okCodes = [0], onLine } = options;
  if (signal?.aborted) throw new Interrupted();
  const shell = $({
    quiet: true,
    nothrow: true,
    // An empty input closes standard input at once, so that nothing ever waits for a terminal.
    input: input ?? '',
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, timeoutSignal: 'SIGKILL' as const }),
    ...(signal === undefined ? {} : { signal }),
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
  });
  const started = performance.now();
  const running = shell`${argv}`;
  const lines = onLine === undefined ? undefined : lineSplitter(onLine);
  if (lines) running.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
  const output = await running.catch((error: unknown) => {
    if (error instanceof ProcessOutput) return error;
    throw error;
  });
  lines?.end();
  const result = { exitCode: output.exitCode ?? -1, stdout: output.stdout, stderr: output.stderr };
  if (output.exitCode !== null && okCodes.includes(output.exitCode)) return result;
  if (signal?.aborted) throw new Interrupted();
  const timedOut = timeoutMs !== undefined && performance.now() - started >= timeoutMs;
  throw new CommandError('this host', argv, {
    ...result,
    exitCode: output.exitCode,
    ...(timedOut
      ? { how: `timeout after ${timeoutMs / 1000} s` }
      : output.exitCode === null
        ? { how: output.signal ?? 'did not start' }
        : {}),
  });
}

/**
 * Cuts a stream of bytes into complete lines of UTF-8, wherever its chunks end; `end` hands over what is left without
 * a newline.
 */
export function lineSplitter(onLine: (line: string) => void): { push(chunk: Buffer): void; end(): void } {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  return {
    push(chunk) {
      const lines = (rest + decoder.write(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    },
    end() {
      rest += decoder.end();
      if (rest !== '') onLine(rest);
      rest = '';
    },
  };
}
