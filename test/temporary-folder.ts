import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Gives a test run one temporary folder, which everything that tests make lies in, and removes it at the end. */
export function setup(): () => void {
  return useFolder(tmpdir());
}

/** Below this folder. */
export function useFolder(parent: string): () => void {
  const folder = mkdtempSync(join(parent, 'k8s-bgp-lab-test-'));
  process.env.TMPDIR = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
