import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where a driver notes what it has made or borrowed, outside the state folder: `$XDG_STATE_HOME/k8s-bgp-lab/DRIVER`, by
 * default in ~/.local/state. A relative XDG path is invalid and ignored (https://specifications.freedesktop.org/basedir/).
 */
export function notesFolder(driver: string, env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env.XDG_STATE_HOME;
  const base = xdg?.startsWith('/') ? xdg : join(env.HOME ?? homedir(), '.local', 'state');
  return join(base, 'k8s-bgp-lab', driver);
}
