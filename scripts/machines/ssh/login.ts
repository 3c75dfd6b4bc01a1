import { readFile } from 'node:fs/promises';
import type { Executor } from '../../exec/executor.ts';
import { sshCommand } from '../../exec/jump.ts';
import { connectSsh, HostKeyError, type RemoteMachine, type SshTarget } from '../../exec/ssh.ts';
import { LabError, LabFailure, messageOf, UserError } from '../../shared/errors.ts';
import type { SshSpec } from '../../spec/types.ts';
import type { Connect } from '../connect.ts';
import { homePath } from './home-path.ts';
import { jumpOf, trustedJump } from './jump.ts';
import { knownHostKey } from './known-hosts.ts';
import type { Registered } from './registry.ts';

const LOGIN_TIMEOUT_MS = 15_000;

/** How a machine is reached, with the host key that the user trusts. Throws UserError where none is known. */
export async function targetOf(
  local: Executor,
  { name, ssh }: Registered,
  knownHosts?: string,
): Promise<SshTarget> {
  const jump = await trustedJump(local, ssh, knownHosts);
  const hostKey = await knownHostKey(local, { ...ssh, knownHosts: ssh.knownHosts ?? knownHosts });
  if (hostKey === undefined) {
    throw new UserError(`The SSH host key of ${name} (${ssh.host}) is not in your known_hosts.`, {
      details: ['labup trusts only machines that you have connected to, or whose key you have put there'],
      next: `${byHand(ssh)}   (compare the fingerprint), then run this again`,
    });
  }
  return {
    name,
    address: ssh.host,
    port: ssh.port,
    user: ssh.user,
    hostKey,
    keepOriginals: true,
    ...(jump === undefined ? {} : { jump }),
  };
}

/** Connects with the user's own key or agent. Throws UserError that says how to get in by hand. */
export async function login(
  target: SshTarget,
  { ssh }: Registered,
  connect: Connect = connectSsh,
): Promise<RemoteMachine> {
  const key = ssh.key === undefined ? {} : { privateKey: await readKey(target.name, ssh.key) };
  try {
    return await connect({ ...target, ...key }, LOGIN_TIMEOUT_MS);
  } catch (error) {
    if (error instanceof HostKeyError) throw otherHostKey(target, ssh, error);
    if (error instanceof LabError) throw error;
    throw new LabFailure(`SSH login to ${target.name} failed: ${messageOf(error)}`, {
      details: [`tried ${ssh.user}@${ssh.host} port ${ssh.port}${throughText(ssh)}`],
      next: `${byHand(ssh)}   (must work without a question)`,
      cause: error,
    });
  }
}

/** What the user types to get in without the lab. */
function byHand(ssh: SshSpec): string {
  const { host, port, user, key } = ssh;
  const identity = key === undefined ? [] : ['-i', key];
  const jump = jumpOf(ssh);
  // -J has no way to say with which key.
  const through = jump === undefined ? [] : ['-o', `'ProxyCommand=${sshCommand(jump, ['-W', '%h:%p'])}'`];
  const at = port === 22 ? [] : ['-p', String(port)];
  return ['ssh', ...identity, ...through, ...at, `${user}@${host}`].join(' ');
}

/** Says which jump host a machine is behind, if any. */
export function throughText({ jump }: SshSpec): string {
  return jump === undefined ? '' : ` through ${jump}`;
}

// Not made by the lab, so that making it anew is no way out.
function otherHostKey({ name, port = 22 }: SshTarget, { host }: SshSpec, cause: unknown): UserError {
  return new UserError(`${name} (${host}) shows another SSH host key than your known_hosts has.`, {
    details: ['another machine has this address, or it was installed anew'],
    next: `ssh-keygen -R ${port === 22 ? host : `'[${host}]:${port}'`}   (only if you know why), ssh to it once, then run this again`,
    cause,
  });
}

async function readKey(machine: string, path: string): Promise<string> {
  return readFile(homePath(path), 'utf8').catch((cause: unknown) => {
    throw new UserError(`The SSH key of ${machine} cannot be read: ${messageOf(cause)}`, {
      next: `set "key" of ${machine} in lab.yaml to a private key, or leave it out where an agent has it`,
      cause,
    });
  });
}
