import type { RemoteMachine } from '../exec/ssh.ts';
import type { RenderedFile } from '../shared/files.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/**
 * Puts files on a machine and makes its systemd units run with them: enabled, started, and restarted where a file
 * changed. Returns whether anything had to be done.
 */
export async function ensureUnits(
  machine: RemoteMachine,
  files: readonly RenderedFile[],
  units: readonly string[],
): Promise<boolean> {
  const changed = await machine.writeFiles(files);
  if (changed.some((path) => path.startsWith('/etc/systemd/'))) {
    await machine.run(['systemctl', 'daemon-reload'], { timeoutMs: TIMEOUTS.command });
  }
  if (changed.length === 0 && (await allRun(machine, units))) return false;
  await machine.run(['systemctl', 'enable', '--quiet', ...units], { timeoutMs: TIMEOUTS.command });
  const verb = changed.length === 0 ? 'start' : 'restart';
  await machine.run(['systemctl', verb, ...units], { timeoutMs: TIMEOUTS.command });
  return true;
}

// is-active exits 3 where a unit does not run.
async function allRun(machine: RemoteMachine, units: readonly string[]): Promise<boolean> {
  const { exitCode } = await machine.run(['systemctl', 'is-active', '--quiet', ...units], {
    okCodes: [0, 1, 2, 3, 4],
  });
  return exitCode === 0;
}
