import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useFolder } from './temporary-folder.ts';

const SHARED_MEMORY = '/dev/shm';

/** As temporary-folder.ts, but in memory where that can be: the fast tests make and remove some ten thousand small files. */
export function setup(): () => void {
  return useFolder(isFit(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir());
}

/** Whether there is room for what tests make, and programs can be started from there (Docker mounts it with noexec). */
function isFit(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    if (bavail * bsize < 2 ** 30) return false;
    const trial = mkdtempSync(join(folder, 'k8s-bgp-lab-test-'));
    try {
      writeFileSync(join(trial, 'run'), '#!/bin/sh\n', { mode: 0o700 });
      execFileSync(join(trial, 'run'));
      return true;
    } finally {
      rmSync(trial, { recursive: true });
    }
  } catch {
    return false;
  }
}
