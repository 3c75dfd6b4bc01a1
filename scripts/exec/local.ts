import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  createReadStream,
  existsSync,
  openSync,
  ReadStream,
  readdirSync,
  readFileSync,
  readlinkSync,
} from 'node:fs';
import { constants } from 'node:os';
import { StringDecoder } from 'node:string_decoder';
import type { ProcessPromise } from 'zx/core';
import { Interrupted } from '../shared/errors.ts';
import { CommandError, type Executor, type RunOptions, type RunResult } from './executor.ts';

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
  const { $, ProcessOutput } = await import('zx/core');
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

/** Runs a program on the user's own terminal (or pipes) and returns its exit code; a signal counts as 128 plus its number. */
export async function runInteractive(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const [command = '', ...args] = argv;
  const child = spawn(command, args, { stdio: 'inherit', env: { ...env } });
  // Ctrl-C reaches the program through the terminal; it decides what that means, and we report what it came to.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      );
    });
  } finally {
    process.off('SIGINT', ignore);
  }
}

/** A process that outlives the command that started it; `startTime` tells it from a later one with the same id. */
export interface BackgroundProcess {
  readonly pid: number;
  readonly startTime: string;
}

/** Starts a daemon in its own session, with closed input and its output appended to a file. Throws if it cannot start. */
export async function startBackground(argv: readonly string[], logFile: string): Promise<BackgroundProcess> {
  const [command = '', ...args] = argv;
  const log = openSync(logFile, 'a', 0o600);
  try {
    // A folder for temporary files may be the caller's own, and go when it ends; the process stays.
    const { TMPDIR: _, ...env } = process.env;
    const child = spawn(command, args, { detached: true, env, stdio: ['ignore', log, log] });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const pid = child.pid ?? 0;
    return { pid, startTime: startTimeOf(pid) ?? '' };
  } finally {
    closeSync(log);
  }
}

/** The process that was started in the background with this log file, as long as it runs. Linux only. */
export function backgroundWith(logFile: string): BackgroundProcess | undefined {
  if (!existsSync(logFile) || !existsSync('/proc')) return undefined;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/fd/1`) !== logFile) continue;
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // Field 6 is the session: what it has started itself is in the same one.
      const session = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3];
      if (session === pid) return { pid: Number(pid), startTime: startTimeOf(Number(pid)) ?? '' };
    } catch {
      // It has ended meanwhile, or is another user's.
    }
  }
  return undefined;
}

/** Whether exactly this process still runs. */
export function isRunning({ pid, startTime }: BackgroundProcess, platform = process.platform): boolean {
  return startTimeOf(pid, platform) === startTime;
}

/** This process, as another one can recognise it. */
export function thisProcess(platform = process.platform): BackgroundProcess {
  return { pid: process.pid, startTime: startTimeOf(process.pid, platform) ?? '' };
}

// Field 22 of /proc/PID/stat, counted after the command name, which may hold spaces (proc(5)). Elsewhere there is no
// /proc, and ps(1) tells the start to the second.
function startTimeOf(pid: number, platform: NodeJS.Platform = process.platform): string | undefined {
  if (platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
    return stdout?.trim() || undefined;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; when it goes depends on its parent.
    return state === 'Z' ? undefined : fields[18];
  } catch {
    return undefined;
  }
}
