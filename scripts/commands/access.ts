import { isDeepStrictEqual } from 'node:util';
import type { JumpHost } from '../exec/jump.ts';
import type { SshTarget } from '../exec/ssh.ts';
import type { SshHost } from '../exec/ssh-connection.ts';
import type { LabPlan } from '../plan/types.ts';
import { silent } from '../shared/events.ts';
import type { Deps } from './deps.ts';
import type { LabState, Reach } from './state.ts';

/** How to reach every machine of the lab over SSH, in plan order: as labup noted it, else as the driver says. */
export async function sshTargets(
  deps: Pick<Deps, 'driver'>,
  plan: LabPlan,
  state: LabState,
): Promise<readonly SshTarget[]> {
  const secrets = await state.requireSecrets();
  const { privateKey } = secrets.clientKey;
  const noted = await state.loadReach();
  if (noted !== undefined) return noted.map((reach) => ({ ...reach, privateKey }));
  const driver = await deps.driver(plan.choices.driver.value);
  return driver.reach(plan, secrets, silent);
}

/** Notes how the machines are reached, for the commands that come after. */
export async function noteReach(
  state: LabState,
  targets: readonly SshTarget[],
  privateKey: string,
): Promise<void> {
  const reach = targets.map(({ privateKey: _, ...each }) => each);
  await state.saveReach(reach);
  await writeSshFiles(state, reach, privateKey);
}

/** Writes key, known_hosts and ssh_config, so that plain `ssh -F .lab/<name>/ssh_config MACHINE` works, keys pinned. */
async function writeSshFiles(state: LabState, reach: readonly Reach[], privateKey: string): Promise<void> {
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
  const ways = jumps.map(([name, jump]) =>
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
  await state.write('ssh_config', [...hosts, ...ways, ...common].join('\n'));
}

/** The jump hosts of a lab, each under a name that no machine can have. */
function jumpHostsOf(reach: readonly Reach[]): readonly (readonly [string, JumpHost])[] {
  const jumps = reach.flatMap(({ jump }) => (jump === undefined ? [] : [jump]));
  return jumps
    .filter((jump, index) => !jumps.slice(0, index).some((other) => isDeepStrictEqual(other, jump)))
    .map((jump, index) => [`jump_host_${index + 1}`, jump] as const);
}

function quoted(path: string): string {
  return `"${path}"`;
}
