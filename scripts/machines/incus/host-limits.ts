import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DaemonHost } from './daemon.ts';

/**
 * All containers share root's inotify instances, and seven booted machines with kubelets take about sixty: with the
 * kernel's default of 128 the kubelets of a second lab end with "too many open files".
 * https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
 */
const ENOUGH = 1024;

/** Raises the host's limit where it is too low, and notes what it was. Returns whether it had to. */
export async function ensureHostLimits({ limitFile, runDir }: DaemonHost): Promise<boolean> {
  const now = Number(await readFile(limitFile, 'utf8'));
  if (now >= ENOUGH) return false;
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  await writeFile(noteIn(runDir), JSON.stringify({ maxUserInstances: now }));
  await writeFile(limitFile, String(ENOUGH));
  return true;
}

/** Puts the limit back to what it was before the first lab. */
export async function restoreHostLimits({ limitFile, runDir }: DaemonHost): Promise<void> {
  const note = noteIn(runDir);
  if (!existsSync(note)) return;
  const { maxUserInstances } = JSON.parse(await readFile(note, 'utf8')) as { maxUserInstances: number };
  await writeFile(limitFile, String(maxUserInstances));
  await rm(note);
}

function noteIn(runDir: string): string {
  return join(runDir, 'limits.json');
}
