import { existsSync } from 'node:fs';
import { kubectlCommand } from '../../cluster/kubectl.ts';
import { quoteWord } from '../../exec/quote.ts';
import { UserError } from '../../shared/errors.ts';
import { silent } from '../../shared/events.ts';
import { sshTargets } from '../access.ts';
import { openApi } from '../api-access.ts';
import { artifactsOf, type Deps } from '../deps.ts';
import { type LabOptions, labName } from '../lab-file.ts';
import { LabState } from '../state.ts';

/** The file of the state folder that says where the lab's kubectl is. */
export const KUBECTL_NOTE = 'kubectl-path';

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
  const state = new LabState(deps.cwd, labName(deps, options));
  const plan = await state.requirePlan();
  if (!plan.machines.some(({ name }) => name === machine)) {
    throw new UserError(`There is no machine "${machine}" in this lab.`, {
      details: [`machines: ${plan.machines.map(({ name }) => name).join(', ')}`],
    });
  }
  const user = (await sshTargets(deps, plan, state)).find(({ name }) => name === machine)?.user;
  const become = user === 'root' || command.length === 0 ? [] : ['sudo', '--non-interactive', '--'];
  return ['ssh', '-F', state.path('ssh_config'), machine, ...become, ...command.map(quoteWord)];
}

/**
 * Runs work with the argv of kubectl against the lab's API server, whatever the user's own kubeconfig says; the way to it
 * is open for as long as the work takes.
 */
export async function withKubectl<T>(
  deps: Deps,
  args: readonly string[],
  options: LabOptions,
  work: (argv: readonly string[]) => Promise<T>,
): Promise<T> {
  const state = new LabState(deps.cwd, labName(deps, options));
  const plan = await state.requirePlan();
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

/**
 * The kubectl that the lab was made with; where the cache holds that no longer, the one that labup would use now. Throws
 * UserError where both are gone: only labup makes images and binaries, which takes minutes.
 */
export async function cachedKubectl(
  deps: Pick<Deps, 'artifacts' | 'driver' | 'signal'>,
  state: LabState,
): Promise<string> {
  const noted = await state.read(KUBECTL_NOTE);
  if (noted !== undefined && existsSync(noted)) return noted;
  const plan = await state.requirePlan();
  const { machines } = await deps.driver(plan.choices.driver.value);
  const artifacts = await deps.artifacts(artifactsOf(plan));
  const missing = await artifacts.missing(machines);
  if (missing.length > 0) {
    throw new UserError("The cache does not hold this lab's images and binaries any more.", {
      details: missing.map(({ name }) => `missing: ${name}`),
      next: 'npx labup --yes   (makes them again)',
    });
  }
  return (await artifacts.ensure(machines, silent, deps.signal)).artifacts.kubectl;
}
