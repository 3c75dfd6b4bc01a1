import { readFile } from 'node:fs/promises';
import type { NodeSSH } from 'node-ssh';
import type { ClientChannel } from 'ssh2';
import { HarnessError, LabError, messageOf, UserError } from '../shared/errors.ts';
import { ChannelRefused, OtherHostKey, openChannel, openSsh, type SshHost } from './ssh-connection.ts';

/**
 * A host that connections to machines go through. It is not the lab's: nothing is changed on it, and it is entered with
 * the user's own key or agent, never with the lab's.
 */
export interface JumpHost extends Omit<SshHost, 'privateKey'> {
  readonly port: number;
  /** Absolute path of a private key; without it the SSH agent is asked. */
  readonly keyFile?: string;
}

/** The connection to a jump host, shared by all who go through it at one time. */
interface Shared {
  readonly entered: Promise<NodeSSH>;
  users: number;
}

const shared = new Map<string, Shared>();

/**
 * A connection to a machine's port through a jump host; all that are open at one time share one SSH connection to it.
 * Throws UserError where the jump host is not the one that the user knows, or forwards nothing, HarnessError where it
 * cannot be logged in to, and an error that names it where it cannot reach the machine.
 */
export async function dialThrough(
  jump: JumpHost,
  address: string,
  port: number,
  timeoutMs: number,
): Promise<ClientChannel> {
  const key = JSON.stringify([jump.user, jump.address, jump.port, jump.keyFile, jump.hostKey]);
  const way = shared.get(key) ?? share(key, jump, timeoutMs);
  way.users += 1;
  const leave = () => {
    way.users -= 1;
    if (way.users > 0) return;
    forget(key, way);
    void way.entered.then((ssh) => ssh.dispose()).catch(() => {}); // Whoever waits for it has been told.
  };
  try {
    const channel = await openChannel(await way.entered, address, port, timeoutMs);
    channel.once('close', leave);
    return channel;
  } catch (error) {
    leave();
    if (error instanceof LabError) throw error;
    if (error instanceof ChannelRefused && error.prohibited) throw refusal(jump, address, port, error);
    const what = `the jump host ${jumpName(jump)} cannot reach ${address} port ${port}`;
    throw new Error(`${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** The jump host as it is written in lab.yaml. */
export function jumpName({ user, address, port }: Pick<JumpHost, 'user' | 'address' | 'port'>): string {
  return `${user}@${address}${port === 22 ? '' : `:${port}`}`;
}

function share(key: string, jump: JumpHost, timeoutMs: number): Shared {
  const made: Shared = { entered: enter(jump, timeoutMs), users: 0 };
  shared.set(key, made);
  made.entered.then(
    (ssh) => ssh.connection?.once('close', () => forget(key, made)),
    () => forget(key, made),
  );
  return made;
}

/** From now on others open a connection of their own. */
function forget(key: string, way: Shared): void {
  if (shared.get(key) === way) shared.delete(key);
}

async function enter(jump: JumpHost, timeoutMs: number): Promise<NodeSSH> {
  const { keyFile } = jump;
  const key = keyFile === undefined ? {} : { privateKey: await readKey(jump, keyFile) };
  return openSsh({ ...jump, ...key }, timeoutMs).catch((error: unknown) => {
    if (error instanceof LabError) throw error;
    if (error instanceof OtherHostKey) throw otherHostKey(jump, error);
    throw new HarnessError(`SSH login to the jump host ${jumpName(jump)} failed: ${messageOf(error)}`, {
      details: ['without it no machine behind it can be looked at or changed'],
      next: `${sshCommand(jump)}   (must work without a question), then run this again`,
      cause: error,
    });
  });
}

async function readKey(jump: JumpHost, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UserError(
      `The SSH key for the jump host ${jumpName(jump)} cannot be read: ${messageOf(cause)}`,
      {
        next: 'set "jumpKey" of the machines in lab.yaml to a private key that is let in there, then run this again',
        cause,
      },
    );
  });
}

function otherHostKey(jump: JumpHost, cause: unknown): UserError {
  const { address, port } = jump;
  const known = port === 22 ? address : `'[${address}]:${port}'`;
  return new UserError(
    `The jump host ${jumpName(jump)} shows another SSH host key than your known_hosts has.`,
    {
      details: ['another machine has this address, or it was installed anew'],
      next: `ssh-keygen -R ${known}   (only if you know why), ssh to it once, then run this again`,
      cause,
    },
  );
}

function refusal(jump: JumpHost, address: string, port: number, cause: ChannelRefused): UserError {
  return new UserError(`The jump host ${jumpName(jump)} refuses to forward connections.`, {
    details: [
      `asked for ${address} port ${port}, it said: ${cause.message}`,
      'its sshd_config says so (AllowTcpForwarding, DisableForwarding, PermitOpen), or your key in its authorized_keys',
    ],
    next: `${sshCommand(jump, ['-W', `${address}:${port}`])}   (must show a line with SSH-2.0), then run this again`,
    cause,
  });
}

/** What the user types to enter the jump host. */
export function sshCommand(jump: Omit<JumpHost, 'hostKey'>, options: readonly string[] = []): string {
  const key = jump.keyFile === undefined ? [] : ['-i', jump.keyFile];
  const port = jump.port === 22 ? [] : ['-p', String(jump.port)];
  return ['ssh', ...key, ...port, ...options, `${jump.user}@${jump.address}`].join(' ');
}
