import type { Kubectl } from '../../cluster/kubectl.ts';
import type { Executor } from '../../exec/executor.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { type Action, KUBECTL } from '../../selftest/fault.ts';
import { PENDING_FILE, parsePending } from '../../selftest/pending.ts';
import { undo } from '../../selftest/run.ts';
import { HarnessError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { LabState } from '../state.ts';

/**
 * Undoes what a selftest or scenario that was killed left in the lab; without one it does nothing. Throws UserError while
 * one is running, LabFailure where it cannot be undone.
 */
export async function undoFaults(
  state: LabState,
  kubectl: Kubectl,
  machines: ReadonlyMap<string, RemoteMachine>,
  emit: Emit,
): Promise<void> {
  if ((await state.read(PENDING_FILE)) === undefined) return;
  await state.locked('undoing what was left', () => undoPending(state, kubectl, machines, emit));
}

/** The same for a command that holds the lab's lock. */
export async function undoPending(
  state: LabState,
  kubectl: Kubectl,
  machines: ReadonlyMap<string, RemoteMachine>,
  emit: Emit,
): Promise<void> {
  const text = await state.read(PENDING_FILE);
  if (text === undefined) return;
  const { by, title, revert } = parsePending(text);
  emit({ type: 'warning', text: `a ${by} was ended in its middle; undoing "${title}"` });
  const act = (action: Action) => runAction(action, kubectl, machines);
  await undo({ title, revert }, { act, reconnect: async () => {} });
  await state.removeFile(PENDING_FILE);
}

/** Runs an action of a fault on its machine, or with kubectl. */
export async function runAction(
  { on, argv, input }: Action,
  kubectl: Kubectl,
  machines: ReadonlyMap<string, RemoteMachine>,
): Promise<string> {
  const options = {
    signal: neverAborted(),
    timeoutMs: ACTION_TIMEOUT_MS,
    ...(input === undefined ? {} : { input }),
  };
  if (on === KUBECTL) return (await kubectl.run(argv, options)).stdout;
  const machine = machines.get(on);
  if (machine === undefined) throw new HarnessError(`There is no connection to ${on}.`);
  return (await machine.run(argv, options)).stdout;
}

/** The same executor for commands that Ctrl-C must not end. */
export function uninterruptible(executor: Executor): Executor {
  return {
    where: executor.where,
    run: (argv, options) => executor.run(argv, { ...options, signal: neverAborted() }),
  };
}

const ACTION_TIMEOUT_MS = 10_000;

// An executor that is given no signal listens to the one of the whole command.
function neverAborted(): AbortSignal {
  return new AbortController().signal;
}
