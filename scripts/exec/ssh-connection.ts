import { readFile } from 'node:fs/promises';
import type { NodeSSH } from 'node-ssh';
import type { ClientChannel, ServerHostKeyAlgorithm } from 'ssh2';
import { HarnessError, LabError, messageOf, UserError } from '../shared/errors.ts';

/** An SSH server, and how to log in to it. */
export interface SshHost {
  readonly address: string;
  /** Default 22. */
  readonly port?: number;
  readonly user: string;
  /** Private key in OpenSSH format; without it the SSH agent is asked. */
  readonly privateKey?: string;
  /** The one host key that is accepted, as a public key line ("ssh-ed25519 AAAA…"). */
  readonly hostKey: string;
}

/** Whoever answered showed another host key than the pinned one. */
export class OtherHostKey extends Error {}

/** The other side did not open a connection on our behalf. */
export class ChannelRefused extends Error {
  /** Whether it may not, by its settings; else it tried and failed. */
  readonly prohibited: boolean;

  constructor(message: string, prohibited: boolean, cause?: unknown) {
    super(message, { cause });
    this.prohibited = prohibited;
  }
}

/** Loads the SSH client: some 50 ms for whoever waits for something else before connecting. */
export const loadSsh = () => import('node-ssh');

/**
 * Logs in, over a stream to the server where there is one, else over a TCP connection of its own. Throws OtherHostKey where
 * the host key is not the pinned one, else when nothing answers or nobody is let in.
 */
export async function openSsh(host: SshHost, timeoutMs: number, sock?: ClientChannel): Promise<NodeSSH> {
  const [type = '', blob = ''] = host.hostKey.split(' ');
  const pinned = Buffer.from(blob, 'base64');
  const { NodeSSH } = await loadSsh();
  const ssh = new NodeSSH();
  let trusted = true;
  try {
    await ssh.connect({
      host: host.address,
      port: host.port ?? 22,
      username: host.user,
      ...(sock === undefined ? {} : { sock }),
      ...(host.privateKey === undefined ? { agent: agentSocket() } : { privateKey: host.privateKey }),
      // A server has keys of several types: it must show the one that is pinned.
      ...(type === '' ? {} : { algorithms: { serverHostKey: algorithmsOf(type) } }),
      readyTimeout: timeoutMs,
      keepaliveInterval: 5_000,
      keepaliveCountMax: 3,
      hostVerifier: (key: Buffer) => {
        trusted = key.equals(pinned);
        return trusted;
      },
    });
  } catch (error) {
    ssh.dispose();
    throw trusted ? error : new OtherHostKey('another host key than the pinned one', { cause: error });
  }
  // After the hand-over node-ssh listens no more; an unheard 'error' would end the process. Commands see the close.
  ssh.connection?.on('error', () => ssh.dispose());
  return ssh;
}

/** RFC 4254, 5.1: the reason of a server that does not want to open a channel. */
const ADMINISTRATIVELY_PROHIBITED = 1;

/**
 * A connection to an address and port as the server reaches them. Throws ChannelRefused where it opens none, an error of
 * another kind where the SSH connection is lost.
 */
export async function openChannel(
  ssh: NodeSSH,
  address: string,
  port: number,
  timeoutMs: number,
): Promise<ClientChannel> {
  let late = false;
  let timer: NodeJS.Timeout | undefined;
  const opening = ssh.forwardOut('127.0.0.1', 0, address, port).then((channel) => {
    if (late) channel.close();
    return channel as ClientChannel;
  });
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late = true;
      reject(new ChannelRefused(`no answer within ${timeoutMs / 1000} s`, false));
    }, timeoutMs);
  });
  try {
    return await Promise.race([opening, tooLate]);
  } catch (error) {
    const reason = error instanceof Error && 'reason' in error ? error.reason : undefined;
    if (typeof reason !== 'number') throw error;
    const said = (error as Error).message.replace(/^\(SSH\) Channel open failure: /, '');
    throw new ChannelRefused(said, reason === ADMINISTRATIVELY_PROHIBITED, error);
  } finally {
    clearTimeout(timer);
  }
}

function algorithmsOf(type: string): ServerHostKeyAlgorithm[] {
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type as ServerHostKeyAlgorithm];
}

function agentSocket(): string {
  const socket = process.env.SSH_AUTH_SOCK;
  if (socket === undefined)
    throw new UserError('No SSH agent runs here, and no key was given.', {
      next: 'set "key" of the machine in lab.yaml, or start an agent: eval $(ssh-agent) && ssh-add',
    });
  return socket;
}

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
  const connection = shared.get(key) ?? share(key, jump, timeoutMs);
  connection.users += 1;
  const leave = () => {
    connection.users -= 1;
    if (connection.users > 0) return;
    forget(key, connection);
    void connection.entered.then((ssh) => ssh.dispose()).catch(() => {}); // Whoever waits for it has been told.
  };
  try {
    const channel = await openChannel(await connection.entered, address, port, timeoutMs);
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
function forget(key: string, connection: Shared): void {
  if (shared.get(key) === connection) shared.delete(key);
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
