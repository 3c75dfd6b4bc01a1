import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { Executor } from '../../exec/executor.ts';
import { connectSsh, HostKeyError, type RemoteMachine, type SshTarget } from '../../exec/ssh.ts';
import { type JumpHost, jumpName, sshCommand } from '../../exec/ssh-connection.ts';
import { LabError, LabFailure, messageOf, UserError } from '../../shared/errors.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import type { SshSpec } from '../../spec/types.ts';
import type { Connect } from '../connect.ts';
import { Notes, notesFolder } from '../notes.ts';

/** A machine that a lab uses, and how it is reached. */
export interface Registered {
  readonly name: string;
  readonly ssh: SshSpec;
}

/** Remembers which machines a lab uses: one note for each lab. */
export class Registry extends Notes<readonly Registered[]> {
  constructor(folder: string = notesFolder('ssh')) {
    super(folder, z.custom<readonly Registered[]>(Array.isArray), () => ({
      details: ['it says which machines the lab uses'],
      next: 'remove it, then: npx labup --yes   (writes it again)',
    }));
  }

  /** The machines of a lab; none where nothing is noted. */
  async of(lab: string): Promise<readonly Registered[]> {
    return (await this.read(lab)) ?? [];
  }

  /** Notes the machines of a lab. */
  async note(lab: string, machines: readonly Registered[]): Promise<void> {
    return machines.length === 0 ? this.forget(lab) : this.write(lab, machines);
  }
}

/** A path as it is written in lab.yaml, where ~ stands for the user's home. */
export function homePath(path: string): string {
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
}

/** Types that a machine may be known by, the one that is asked for first at the front. */
const TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];

/**
 * The host key that the user's own known_hosts has for a host, as a public key line; undefined where it has none. Asks
 * ssh-keygen, which knows hashed names too (ssh-keygen(1), -F).
 */
export async function knownHostKey(
  local: Executor,
  { host, port, knownHosts }: Pick<SshSpec, 'host' | 'port' | 'knownHosts'>,
): Promise<string | undefined> {
  const name = port === 22 ? host : `[${host}]:${port}`;
  const options = { okCodes: [0, 1, 255], timeoutMs: TIMEOUTS.command };
  const { stdout } = await local.run(
    ['ssh-keygen', '-F', name, ...(knownHosts === undefined ? [] : ['-f', homePath(knownHosts)])],
    options,
  );
  const keys = stdout.split('\n').flatMap((line) => {
    const words = line.split(' ');
    // A mark such as @revoked or @cert-authority is no key to trust.
    if (line.startsWith('#') || line.startsWith('@') || words.length < 3) return [];
    return [words.slice(1, 3)];
  });
  const type = TYPES.find((each) => keys.some(([is]) => is === each));
  return keys.find(([is]) => is === type)?.join(' ');
}

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
