import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LabError, UserError } from '../shared/errors.ts';
import type { RemoteMachine } from './ssh.ts';
import { ChannelRefused } from './ssh-connection.ts';

/** A port of this host's loopback that leads to a port which a machine can reach. */
export interface Forward {
  readonly port: number;
  close(): void;
}

/**
 * Listens on a free port of the loopback, and forwards each connection over SSH; an SSH connection that is lost is opened
 * again for the next one. Throws what `connect` throws, and UserError where the machine's sshd forwards nothing.
 */
export async function forwardOver(
  connect: () => Promise<RemoteMachine>,
  address: string,
  port: number,
): Promise<Forward> {
  const first = await connect();
  // Asked once at the start: later on, whoever uses the port would only see it close.
  await requireForwarding(first, address, port).catch((error: unknown) => {
    first.close();
    throw error;
  });
  let machine = Promise.resolve(first);
  let closed = false;
  const dial = async (): Promise<Duplex> => {
    const used = machine;
    try {
      return await (await used).dial(address, port);
    } catch (error) {
      if (error instanceof ChannelRefused || error instanceof LabError || closed) throw error;
      if (machine === used) {
        used.then((lost) => lost.close()).catch(() => {}); // It never came to be.
        machine = connect();
      }
      return (await machine).dial(address, port);
    }
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}); // Its close follows.
    socket.once('close', () => sockets.delete(socket));
    dial().then(
      (channel) => join(socket, channel),
      // A connection that is closed at once is all that a client can be told here.
      () => socket.destroy(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      closed = true;
      server.close();
      for (const socket of sockets) socket.destroy();
      machine.then((each) => each.close()).catch(() => {}); // It never came to be.
    },
  };
}

async function requireForwarding(machine: RemoteMachine, address: string, port: number): Promise<void> {
  try {
    (await machine.dial(address, port)).destroy();
  } catch (error) {
    // Nothing may listen there yet.
    if (!(error instanceof ChannelRefused)) throw error;
    if (!error.prohibited) return;
    throw new UserError(`The sshd of ${machine.name} refuses to forward connections.`, {
      details: [
        `asked for ${address} port ${port}, it said: ${error.message}`,
        'kubectl reaches the API server through it, for the machines are behind a jump host',
      ],
      next: `set "AllowTcpForwarding yes" in its sshd_config, reload sshd, then run this again`,
      cause: error,
    });
  }
}

function join(socket: Socket, channel: Duplex): void {
  if (socket.destroyed) {
    channel.destroy();
    return;
  }
  channel.on('error', () => {}); // Its close follows.
  socket.once('close', () => channel.destroy());
  channel.once('close', () => socket.destroy());
  socket.pipe(channel);
  channel.pipe(socket);
}
