import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

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
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
