import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

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
    const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log] });
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

/** Whether exactly this process still runs. */
export function isRunning({ pid, startTime }: BackgroundProcess): boolean {
  return startTimeOf(pid) === startTime;
}

/** This process, as another one can recognise it. */
export function thisProcess(): BackgroundProcess {
  return { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
}

// Field 22 of /proc/PID/stat, counted after the command name, which may hold spaces (proc(5)).
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
