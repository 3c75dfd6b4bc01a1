import { resolve } from 'node:path';
import type { Executor } from '../../exec/executor.ts';
import { type JumpHost, jumpName, sshCommand } from '../../exec/jump.ts';
import { UserError } from '../../shared/errors.ts';
import type { SshSpec } from '../../spec/types.ts';
import { homePath } from './home-path.ts';
import { knownHostKey } from './known-hosts.ts';

/** A jump host as lab.yaml says it, before its host key is looked up; undefined where there is none. */
export function jumpOf({ jump, jumpKey, key }: SshSpec): Omit<JumpHost, 'hostKey'> | undefined {
  const [, user, address, port] = /^([^@]+)@([^:]+)(?::(\d+))?$/.exec(jump ?? '') ?? [];
  if (user === undefined || address === undefined) return undefined;
  const path = jumpKey ?? key;
  return {
    user,
    address,
    port: port === undefined ? 22 : Number(port),
    // Absolute: ssh reads it too, by way of the ssh_config that the lab writes.
    ...(path === undefined ? {} : { keyFile: resolve(homePath(path)) }),
  };
}

/** The jump host with the host key that the user trusts. Throws UserError where none is known. */
export async function trustedJump(
  local: Executor,
  ssh: SshSpec,
  knownHosts?: string,
): Promise<JumpHost | undefined> {
  const jump = jumpOf(ssh);
  if (jump === undefined) return undefined;
  const { address: host, port } = jump;
  const hostKey = await knownHostKey(local, { host, port, knownHosts: ssh.knownHosts ?? knownHosts });
  if (hostKey === undefined) {
    throw new UserError(`The SSH host key of the jump host ${jumpName(jump)} is not in your known_hosts.`, {
      details: ['labup trusts only machines that you have connected to, or whose key you have put there'],
      next: `${sshCommand(jump)}   (compare the fingerprint), then run this again`,
    });
  }
  return { ...jump, hostKey };
}
