import type { RemoteMachine } from '../exec/ssh.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { waitFor } from '../shared/wait.ts';
import type { ClusterContext } from './distribution.ts';
import { nodeReasons } from './node-reasons.ts';

/** A unit that systemd has had to start again this often does not come up by waiting. */
const MAX_RESTARTS = 5;

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
  await waitFor({
    what: `${what} on ${machine.name}`,
    timeoutMs: TIMEOUTS.k3s,
    look: async () => {
      const { active, restarts } = await stateOf(machine, unit);
      if (active === 'active') return { done: true, value: undefined };
      const hopeless = active === 'failed' || restarts >= MAX_RESTARTS;
      const why = `${unit} is ${active}${restarts > 0 ? `, and was started ${restarts + 1} times` : ''}`;
      return { done: false, why, hopeless };
    },
    explain: () => nodeReasons(machine, [unit]),
    next: `npx lab exec ${machine.name} -- journalctl --unit ${unit}`,
    signal,
    emit,
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
