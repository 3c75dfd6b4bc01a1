import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { StepMeter, StepTiming } from '../steps.ts';

/** Processor time used so far, in milliseconds. */
interface Used {
  readonly host: number;
  /** Of each machine that is a container of this host, and of labup itself: what one of these does it mostly does in turn. */
  readonly each: ReadonlyMap<string, number>;
}

/** Measures the processor time of labup's steps on this host; nothing where it is no Linux, as only that has /proc. */
export const processorMeter: StepMeter = () => measured('/');

/** The same with another root folder. */
export function measured(root: string): ReturnType<StepMeter> {
  if (!existsSync(join(root, 'proc/stat'))) return () => ({});
  const before = look(root);
  return (ms) => {
    const { host, each } = look(root);
    const processorMs = Math.round(host - before.host);
    const longest = Math.max(...[...each].map(([name, used]) => used - (before.each.get(name) ?? 0)));
    const leastMs = Math.round(Math.min(ms, Math.max(processorMs / availableParallelism(), longest)));
    return { processorMs, leastMs };
  };
}

/** The steps' sums, and how many times as long as their critical path they took. */
export function sumOf(timings: readonly StepTiming[]) {
  const sum = (of: (timing: StepTiming) => number | undefined) =>
    timings.reduce((all, timing) => all + (of(timing) ?? 0), 0);
  const [ms, leastMs] = [sum((each) => each.ms), sum((each) => each.leastMs)];
  return { ms, processorMs: sum((each) => each.processorMs), leastMs, ratio: ms / Math.max(1, leastMs) };
}

function look(root: string): Used {
  const { user, system } = process.cpuUsage();
  return { host: hostMs(root), each: new Map([['labup', (user + system) / 1000], ...machinesMs(root)]) };
}

/** Everything but idle and waiting for disks; hundredths of a second (proc_stat(5)). Guests are in "user" already. */
function hostMs(root: string): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = (
    /^cpu .*/.exec(readFileSync(join(root, 'proc/stat'), 'utf8'))?.[0] ?? ''
  )
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + irq + softIrq) * 10;
}

/** By the control group of each container, of cgroup v1 or v2. */
function machinesMs(root: string): readonly (readonly [string, number])[] {
  const groups = ['sys/fs/cgroup/cpuacct', 'sys/fs/cgroup'].map((path) => join(root, path)).find(existsSync);
  if (groups === undefined) return [];
  return readdirSync(groups)
    .filter((name) => name.startsWith('lxc.payload.'))
    .flatMap((name) => {
      try {
        return [[name, groupMs(join(groups, name))] as const];
      } catch {
        // Stopped meanwhile: a measurement is no reason for labup to fail.
        return [];
      }
    });
}

function groupMs(folder: string): number {
  const v1 = join(folder, 'cpuacct.usage');
  if (existsSync(v1)) return Number(readFileSync(v1, 'utf8')) / 1e6;
  return Number(/^usage_usec (\d+)/m.exec(readFileSync(join(folder, 'cpu.stat'), 'utf8'))?.[1]) / 1000;
}
