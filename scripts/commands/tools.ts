import { UserError } from '../shared/errors.ts';
import { silent } from '../shared/events.ts';
import type { Deps } from './deps.ts';
import { labName } from './load-plan.ts';
import { LabState } from './state.ts';

interface LabOptions {
  readonly file: string;
  readonly name?: string | undefined;
}

/** The argv of an SSH session to a machine, or of one command on it, with the lab's key and pinned host keys. */
export async function sshArgv(
  deps: Deps,
  machine: string,
  command: readonly string[],
  options: LabOptions,
): Promise<readonly string[]> {
  const state = new LabState(deps.cwd, labName(deps, options));
  const plan = await state.requirePlan();
  if (!plan.machines.some(({ name }) => name === machine)) {
    throw new UserError(`There is no machine "${machine}" in this lab.`, {
      details: [`machines: ${plan.machines.map(({ name }) => name).join(', ')}`],
    });
  }
  return ['ssh', '-F', state.path('ssh_config'), machine, ...command];
}

/** The argv of kubectl against the lab's API server, whatever the user's own kubeconfig says. */
export async function kubectlArgv(
  deps: Deps,
  args: readonly string[],
  options: LabOptions,
): Promise<readonly string[]> {
  const state = new LabState(deps.cwd, labName(deps, options));
  await state.requirePlan();
  const { artifacts } = await deps.artifacts.ensure(silent, deps.signal);
  return [artifacts.kubectl, '--kubeconfig', state.path('kubeconfig'), ...args];
}
