import type { RemoteMachine } from '../exec/ssh.ts';
import { LabFailure } from '../shared/errors.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';
import type { ClusterContext } from './distribution.ts';

/** A unit that systemd has had to start again this often does not come up by waiting. */
const MAX_RESTARTS = 5;
const JOURNAL_LINES = 12;

/**
 * Waits until a unit that is being started is active: for Type=notify, until it says so itself. Throws LabFailure with the
 * end of its journal where it does not, or keeps ending.
 */
export async function waitForUnit(
  machine: RemoteMachine,
  unit: string,
  { emit, signal }: Pick<ClusterContext, 'emit' | 'signal'>,
  what: string,
): Promise<void> {
  const next = `npx lab exec ${machine.name} -- journalctl --unit ${unit}`;
  const ended = await waitFor({
    what: `${what} on ${machine.name}`,
    timeoutMs: TIMEOUTS.k3s,
    look: async () => {
      const { active, restarts } = await stateOf(machine, unit);
      if (active === 'active') return { done: true, value: '' };
      const why = `${unit} is ${active}`;
      if (active === 'failed' || restarts >= MAX_RESTARTS)
        return { done: true, value: `${why}, and was started ${restarts + 1} times` };
      return { done: false, why };
    },
    next,
    signal,
    emit,
  }).catch(async (error: unknown) => {
    if (!(error instanceof LabFailure)) throw error;
    const details = [...error.details, ...(await journalOf(machine, unit))];
    throw new LabFailure(error.message, { details, next, cause: error });
  });
  if (ended === '') return;
  throw new LabFailure(`Waited for ${what} on ${machine.name}, but it ends instead.`, {
    details: [ended, ...(await journalOf(machine, unit))],
    next,
  });
}

async function stateOf(machine: RemoteMachine, unit: string) {
  const argv = ['systemctl', 'show', '--property', 'ActiveState,NRestarts', unit];
  const { stdout } = await machine.run(argv, { timeoutMs: TIMEOUTS.command });
  return {
    active: /^ActiveState=(.*)$/m.exec(stdout)?.[1] ?? 'unknown',
    restarts: Number(/^NRestarts=(\d+)$/m.exec(stdout)?.[1] ?? 0),
  };
}

async function journalOf(machine: RemoteMachine, unit: string): Promise<readonly string[]> {
  // What the unit's own processes say, without systemd; a container has no modules to load, which is no news.
  const argv = ['journalctl', '--boot', '--no-pager', '--output', 'cat', '--lines', '50'];
  const { stdout } = await machine.run([...argv, `_SYSTEMD_UNIT=${unit}`], { timeoutMs: TIMEOUTS.command });
  const lines = stdout.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('modprobe: '));
  return lines.slice(-JOURNAL_LINES);
}
