import { existsSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { KubectlAccess } from '../cluster/kubectl.ts';
import { forwardOver } from '../exec/forward.ts';
import type { SshTarget } from '../exec/ssh.ts';
import type { JumpHost, SshHost } from '../exec/ssh-connection.ts';
import { type LabPlan, theMachine } from '../plan/types.ts';
import { HarnessError, LabError, messageOf, UserError } from '../shared/errors.ts';
import { silent } from '../shared/events.ts';
import { artifactsOf, type Deps } from './deps.ts';
import type { LabState, SshReach } from './state.ts';

/** How to reach every machine of the lab over SSH, in plan order: as labup noted it, else as the driver says. */
export async function sshTargets(
  deps: Pick<Deps, 'driver'>,
  plan: LabPlan,
  state: LabState,
): Promise<readonly SshTarget[]> {
  const secrets = await state.requireSecrets();
  const { privateKey } = secrets.clientKey;
  const noted = await state.load('reach');
  if (noted !== undefined) return noted.map((reach) => ({ ...reach, privateKey }));
  const driver = await deps.driver(plan.choices.driver.value);
  return driver.reach(plan, secrets, silent);
}

/** How to reach one machine of the lab over SSH. Throws UserError where it has none of that name. */
export async function sshTarget(
  deps: Pick<Deps, 'driver'>,
  plan: LabPlan,
  state: LabState,
  machine: string,
): Promise<SshTarget> {
  const target = (await sshTargets(deps, plan, state)).find(({ name }) => name === machine);
  if (target !== undefined) return target;
  throw new UserError(`There is no machine "${machine}" in this lab.`, {
    details: [`machines: ${plan.machines.map(({ name }) => name).join(', ')}`],
  });
}

/** Notes how the machines are reached, for the commands that come after. */
export async function noteReach(
  state: LabState,
  targets: readonly SshTarget[],
  privateKey: string,
): Promise<void> {
  const reach = targets.map(({ privateKey: _, ...each }) => each);
  await state.save('reach', reach);
  await writeSshFiles(state, reach, privateKey);
}

/** Writes key, known_hosts and ssh_config, so that plain `ssh -F .lab/<name>/ssh_config MACHINE` works, keys pinned. */
async function writeSshFiles(state: LabState, reach: readonly SshReach[], privateKey: string): Promise<void> {
  await state.write('id_ed25519', privateKey);
  const jumps = jumpHostsOf(reach);
  const keyOf = ({ hostKey }: { hostKey: string }) => hostKey.split(' ').slice(0, 2).join(' ');
  const known = [...reach.map((each) => [each.name, each] as const), ...jumps];
  // Under its alias, so that one address with several ports is no question.
  await state.write('known_hosts', known.map(([name, each]) => `${name} ${keyOf(each)}\n`).join(''));
  const block = (name: string, { address, port = 22, user }: Omit<SshHost, 'hostKey'>, more: string[]) =>
    [
      `Host ${name}`,
      `  HostName ${address}`,
      `  Port ${port}`,
      `  User ${user}`,
      `  HostKeyAlias ${name}`,
      ...more,
      '',
    ].join('\n');
  const hosts = reach.map((each) => {
    const through = jumps.find(([, jump]) => isDeepStrictEqual(jump, each.jump));
    return block(each.name, each, through === undefined ? [] : [`  ProxyJump ${through[0]}`]);
  });
  // The user's own key, or whatever the agent has: it does not know the lab's.
  const jumpHosts = jumps.map(([name, jump]) =>
    block(
      name,
      jump,
      jump.keyFile === undefined
        ? ['  IdentitiesOnly no']
        : [`  IdentityFile ${quoted(jump.keyFile)}`, '  IdentitiesOnly yes'],
    ),
  );
  const common = [
    `Host ${reach.map(({ name }) => name).join(' ')}`,
    `  IdentityFile ${quoted(state.path('id_ed25519'))}`,
    '  IdentitiesOnly yes',
    '',
    'Host *',
    `  UserKnownHostsFile ${quoted(state.path('known_hosts'))}`,
    '  StrictHostKeyChecking yes',
    '  PasswordAuthentication no',
    '',
  ];
  await state.write('ssh_config', [...hosts, ...jumpHosts, ...common].join('\n'));
}

/** The jump hosts of a lab, each under a name that no machine can have. */
function jumpHostsOf(reach: readonly SshReach[]): readonly (readonly [string, JumpHost])[] {
  const jumps = reach.flatMap(({ jump }) => (jump === undefined ? [] : [jump]));
  return jumps
    .filter((jump, index) => !jumps.slice(0, index).some((other) => isDeepStrictEqual(other, jump)))
    .map((jump, index) => [`jump_host_${index + 1}`, jump] as const);
}

function quoted(path: string): string {
  return `"${path}"`;
}

/** The connection to the API server, for as long as it is not closed. */
export interface ApiAccess {
  readonly via: Pick<KubectlAccess, 'via'>;
  close(): void;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Makes the API server reachable: nothing has to be done, unless the control plane is behind a jump host. Then kubectl
 * reaches it only by a forward over SSH, through the control plane itself, so that its SSH port is all that the jump
 * host has to reach. Throws what connecting through a jump host throws, HarnessError where the SSH login fails.
 */
export async function openApi(
  deps: Pick<Deps, 'connect'>,
  plan: LabPlan,
  targets: readonly SshTarget[],
): Promise<ApiAccess> {
  const { name } = theMachine(plan, 'control-plane');
  const target = targets.find((each) => each.name === name);
  if (target?.jump === undefined) return { via: {}, close() {} };
  const { hostname: serverName, port } = new URL(`https://${plan.kubernetes.apiServer}`);
  const connect = () =>
    deps.connect(target, CONNECT_TIMEOUT_MS).catch((error: unknown) => {
      if (error instanceof LabError) throw error;
      throw new HarnessError(`The API server of lab "${plan.lab}" cannot be reached: ${messageOf(error)}`, {
        details: [`kubectl goes over SSH to ${name}, for it is behind a jump host`],
        next: 'npx lab status; npx labup --yes',
        cause: error,
      });
    });
  const forward = await forwardOver(connect, serverName, Number(port));
  return { via: { via: { port: forward.port, serverName } }, close: () => forward.close() };
}

/** The file of the state folder that says where the lab's kubectl is. */
export const KUBECTL_NOTE = 'kubectl-path';

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
