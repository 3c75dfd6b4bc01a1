import { createReadStream, ReadStream } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import type { ProcessPromise } from 'zx';
import { Interrupted } from '../shared/errors.ts';
import { CommandError } from './command-error.ts';
import type { Executor, RunOptions, RunResult } from './executor.ts';

/** How long a command may take to end by itself after Ctrl-C, in milliseconds. */
const GRACE_MS = 2_000;

/**
 * Runs commands on this host with zx. The argv reaches the program as it is: zx quotes every word for its own bash. A
 * command that is given no signal of its own ends with this one.
 */
export function localExecutor(signal?: AbortSignal): Executor {
  return {
    where: 'this host',
    run: (argv, options) => runLocal(argv, { ...options, signal: options?.signal ?? signal }),
  };
}

async function runLocal(argv: readonly string[], options: RunOptions): Promise<RunResult> {
  const { inputFile, timeoutMs, signal, env, cwd, okCodes = [0], onLine } = options;
  if (signal?.aborted) throw new Interrupted();
  const input = inputFile === undefined ? options.input : createReadStream(inputFile);
  const hasInput = input instanceof ReadStream || (input !== undefined && input.length > 0);
  const { $, ProcessOutput } = await import('zx');
  const shell = $({
    quiet: true,
    nothrow: true,
    // The shell becomes the program: its signal is seen as it is, and there is nobody to say "Killed".
    prefix: 'exec ',
    // A process group of its own, so that it can be ended with everything that it has started.
    detached: true,
    // Nothing ever waits for a terminal: without input, standard input is at its end (zx leaves an empty pipe open).
    stdio: [hasInput ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    ...(hasInput ? { input } : {}),
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
  });
  const running = shell`${argv}`;
  // A program may end without having read its input.
  if (hasInput) running.stdin.on('error', () => {});
  const lines = onLine === undefined ? undefined : lineSplitter(onLine);
  if (lines) running.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
  const stopper = stopping(running, timeoutMs, signal);
  const output = await running
    .catch((error: unknown) => {
      if (error instanceof ProcessOutput) return error;
      throw error;
    })
    .finally(stopper.clear);
  lines?.end();
  const result = { exitCode: output.exitCode ?? -1, stdout: output.stdout, stderr: output.stderr };
  if (output.exitCode !== null && okCodes.includes(output.exitCode)) return result;
  if (signal?.aborted) throw new Interrupted();
  const how = stopper.why() ?? (output.exitCode === null ? (output.signal ?? 'did not start') : undefined);
  throw new CommandError('this host', argv, {
    ...result,
    exitCode: output.exitCode,
    ...(how === undefined ? {} : { how }),
  });
}

/**
 * Ends a command when its time is up, or on Ctrl-C, where it gets a moment to put things in order. By process group and
 * not with zx's own kill, which needs the program `ps` to find children; a minimal Debian has none.
 */
function stopping(
  running: ProcessPromise,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
): { clear(): void; why(): string | undefined } {
  let why: string | undefined;
  let grace: NodeJS.Timeout | undefined;
  const kill = () => {
    signalGroup(running, 'SIGKILL');
    // Whoever left the group may still hold the pipes; nobody listens any more.
    running.child?.stdout?.destroy();
    running.child?.stderr?.destroy();
  };
  const onAbort = () => {
    signalGroup(running, 'SIGTERM');
    grace = setTimeout(kill, GRACE_MS);
  };
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          why = `timeout after ${timeoutMs / 1000} s`;
          kill();
        }, timeoutMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  return {
    why: () => why,
    clear() {
      clearTimeout(timer);
      clearTimeout(grace);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}

function signalGroup({ pid }: ProcessPromise, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
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
