import type { NodeSSH } from 'node-ssh';
import type { ClientChannel, ServerHostKeyAlgorithm } from 'ssh2';
import { UserError } from '../shared/errors.ts';

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

/**
 * Logs in, over a stream to the server where there is one, else over a TCP connection of its own. Throws OtherHostKey where
 * the host key is not the pinned one, else when nothing answers or nobody is let in.
 */
export async function openSsh(host: SshHost, timeoutMs: number, sock?: ClientChannel): Promise<NodeSSH> {
  const [type = '', blob = ''] = host.hostKey.split(' ');
  const pinned = Buffer.from(blob, 'base64');
  const { NodeSSH } = await import('node-ssh');
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
