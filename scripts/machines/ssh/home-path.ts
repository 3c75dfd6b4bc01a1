import { homedir } from 'node:os';
import { join } from 'node:path';

/** A path as it is written in lab.yaml, where ~ stands for the user's home. */
export function homePath(path: string): string {
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
}
