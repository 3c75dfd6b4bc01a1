import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

/** An environment that every process started with it hands on to its children, so that none can hide. */
export function markedEnv(): { readonly LAB_TEST_MARK: string } {
  return { LAB_TEST_MARK: randomUUID() };
}

/** The command lines of all living processes with that environment, orphans included. */
export function processesWith(env: { readonly LAB_TEST_MARK: string }): readonly string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const marked = read(`/proc/${pid}/environ`).includes(`LAB_TEST_MARK=${env.LAB_TEST_MARK}`);
    return marked ? [read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()] : [];
  });
}

/** The command lines of this process's own children. */
export function ownChildren(): readonly string[] {
  const pids = read(`/proc/self/task/${process.pid}/children`).trim();
  return pids === ''
    ? []
    : pids.split(' ').map((pid) => read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim());
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // It has ended meanwhile.
  }
}
