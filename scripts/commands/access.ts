import type { SshTarget } from '../exec/ssh.ts';
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
  return deps.driver(plan.choices.driver.value).reach(plan, secrets, silent);
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
  const keyOf = ({ hostKey }: Reach) => hostKey.split(' ').slice(0, 2).join(' ');
  // Under its alias, so that one address with several ports is no question.
  await state.write('known_hosts', reach.map((each) => `${each.name} ${keyOf(each)}\n`).join(''));
  const hosts = reach.map(({ name, address, port = 22, user }) =>
    [
      `Host ${name}`,
      `  HostName ${address}`,
      `  Port ${port}`,
      `  User ${user}`,
      `  HostKeyAlias ${name}`,
      '',
    ].join('\n'),
  );
  const common = [
    'Host *',
    `  IdentityFile ${quoted(state.path('id_ed25519'))}`,
    '  IdentitiesOnly yes',
    `  UserKnownHostsFile ${quoted(state.path('known_hosts'))}`,
    '  StrictHostKeyChecking yes',
    '  PasswordAuthentication no',
    '',
  ];
  await state.write('ssh_config', [...hosts, ...common].join('\n'));
}

function quoted(path: string): string {
  return `"${path}"`;
}
