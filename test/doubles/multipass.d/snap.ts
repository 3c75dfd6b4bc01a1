import { homedir } from 'node:os';
import { resolve } from 'node:path';
import type { Call } from './io.ts';

/**
 * Whether the client may touch a path. A snap sees nothing hidden at the top of the home folder, no /tmp but its own, and
 * no home outside /home (https://snapcraft.io/docs/home-interface).
 */
export function mayTouch(call: Call, path: string): boolean {
  if (!call.knobs.snap) return true;
  const home = call.knobs.snapHome ?? call.env.HOME ?? homedir();
  if (call.knobs.snapHome === undefined && !home.startsWith('/home/')) return false;
  const full = resolve(call.cwd, path);
  return full.startsWith(`${home}/`) && !full.slice(home.length + 1).startsWith('.');
}

/** Whether a snap gets nothing from standard input: AppArmor may deny an inherited file (LP #1849753). */
export function stdinIsDenied(call: Call): boolean {
  return call.knobs.snap && call.stdinIs === 'file';
}
