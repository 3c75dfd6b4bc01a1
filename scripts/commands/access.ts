import type { SshTarget } from '../exec/ssh.ts';
import type { MachineDriver } from '../machines/driver.ts';
import type { LabPlan } from '../plan/types.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { LabState } from './state.ts';

/** How to reach every machine of the lab over SSH, in plan order. */
export async function sshTargets(
  driver: MachineDriver,
  plan: LabPlan,
  secrets: Secrets,
): Promise<readonly SshTarget[]> {
  return Promise.all(
    plan.machines.map(async ({ name }) => {
      const hostKey = secrets.hostKeys[name]?.publicKey;
      if (hostKey === undefined) throw new Error(`no SSH host key for ${name}`);
      const where = await driver.addressOf(plan, name);
      return { ...where, privateKey: secrets.clientKey.privateKey, hostKey };
    }),
  );
}

/** Writes key, known_hosts and ssh_config, so that plain `ssh -F .lab/<name>/ssh_config MACHINE` works, keys pinned. */
export async function writeSshFiles(state: LabState, targets: readonly SshTarget[]): Promise<void> {
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
