import { kubectlCommand } from '../../cluster/kubectl.ts';
import { quoteWord } from '../../exec/executor.ts';
import { cachedKubectl, openApi, sshTarget, sshTargets } from '../access.ts';
import type { Deps } from '../deps.ts';
import { existingLab, type LabOptions } from '../lab-file.ts';

/**
 * The argv of an SSH session to a machine, or of one command on it, with the lab's key and pinned host keys. The words
 * of the command reach it as they are: ssh joins them for the machine's shell, so each is quoted.
 */
export async function sshArgv(
  deps: Deps,
  machine: string,
  command: readonly string[],
  options: LabOptions,
): Promise<readonly string[]> {
  const { state, plan } = await existingLab(deps, options);
  const { user } = await sshTarget(deps, plan, state, machine);
  const become = user === 'root' || command.length === 0 ? [] : ['sudo', '--non-interactive', '--'];
  return ['ssh', '-F', state.path('ssh_config'), machine, ...become, ...command.map(quoteWord)];
}

/**
 * Runs work with the argv of kubectl against the lab's API server, whatever the user's own kubeconfig says; the connection
 * to it is open for as long as the work takes.
 */
export async function withKubectl<T>(
  deps: Deps,
  args: readonly string[],
  options: LabOptions,
  work: (argv: readonly string[]) => Promise<T>,
): Promise<T> {
  const { state, plan } = await existingLab(deps, options);
  const binary = await cachedKubectl(deps, state);
  const api = await openApi(deps, plan, await sshTargets(deps, plan, state));
  try {
    return await work([
      ...kubectlCommand({ binary, kubeconfig: state.path('kubeconfig'), ...api.via }),
      ...args,
    ]);
  } finally {
    api.close();
  }
}
