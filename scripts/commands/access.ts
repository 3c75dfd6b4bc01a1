import type { SshTarget } from '../exec/ssh.ts';
import type { LabPlan } from '../plan/types.ts';
import { silent } from '../shared/events.ts';
import type { Deps } from './deps.ts';
import type { LabState } from './state.ts';

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
export async function noteReach(state: LabState, targets: readonly SshTarget[]): Promise<void> {
  await state.saveReach(targets.map(({ privateKey: _, ...reach }) => reach));
  await writeSshFiles(state, targets);
}

/** Writes key, known_hosts and ssh_config, so that plain `ssh -F .lab/<name>/ssh_config MACHINE` works, keys pinned. */
async function writeSshFiles(state: LabState, targets: readonly SshTarget[]): Promise<void> {
  const [first] = targets;
  if (first === undefined) return;
  await state.write('id_ed25519', first.privateKey);
  const keyOf = ({ hostKey }: SshTarget) => hostKey.split(' ').slice(0, 2).join(' ');
  await state.write(
    'known_hosts',
    targets.map((target) => `${target.name},${target.address} ${keyOf(target)}\n`).join(''),
  );
  const hosts = targets.map(({ name, address, user }) =>
    [`Host ${name}`, `  HostName ${address}`, `  User ${user}`, ''].join('\n'),
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
