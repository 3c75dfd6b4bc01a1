import { createHash } from 'node:crypto';
import type { RemoteMachine } from '../exec/ssh.ts';
import type { RenderedFile } from '../shared/files.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/** Holds, per first unit of a group, the hash of the files that the group was last started with. */
const APPLIED_DIR = '/var/lib/lab/applied';

/**
 * Puts files on a machine and makes its systemd units run with them: enabled, and restarted unless all of them run with
 * exactly these files already, also where an earlier run was stopped between writing and restarting. `untilStarted`
 * waits for units that take longer to start than a command may. Returns whether anything had to be done.
 */
export async function ensureUnits(
  machine: RemoteMachine,
  files: readonly RenderedFile[],
  units: readonly string[],
  untilStarted?: () => Promise<void>,
): Promise<boolean> {
  const options = { timeoutMs: TIMEOUTS.command };
  const stamp = { path: `${APPLIED_DIR}/${units[0]}`, content: hashOf(files) };
  const changed = await machine.writeFiles(files);
  if (changed.length === 0 && (await allRunWith(machine, units, stamp))) return false;
  await machine.run(['systemctl', 'daemon-reload'], options);
  await machine.run(['systemctl', 'enable', '--quiet', ...units], options);
  const how = untilStarted === undefined ? [] : ['--no-block'];
  await machine.run(['systemctl', 'restart', ...how, ...units], options);
  await untilStarted?.();
  await machine.writeFiles([stamp]);
  return true;
}

// is-active prints a state per unit; its exit code is 0 where any of them is active (systemctl(1)), so it does not help.
async function allRunWith(
  machine: RemoteMachine,
  units: readonly string[],
  stamp: RenderedFile,
): Promise<boolean> {
  const script = 'cat "$0" 2>/dev/null; echo; systemctl is-active "$@"; true';
  const { stdout } = await machine.run(['sh', '-c', script, stamp.path, ...units], {
    timeoutMs: TIMEOUTS.command,
  });
  const [applied, ...states] = stdout.trimEnd().split('\n');
  return applied === stamp.content && states.length === units.length && states.every((is) => is === 'active');
}

function hashOf(files: readonly RenderedFile[]): string {
  return createHash('sha256').update(JSON.stringify(files)).digest('hex');
}
