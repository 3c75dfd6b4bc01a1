import { spawn } from 'node:child_process';
import { type AddressInfo, createConnection, type Socket } from 'node:net';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import { newKeyPair } from '../../scripts/exec/keys.ts';
import type { SshTarget } from '../../scripts/exec/ssh.ts';

/** What the server does with a command. */
export type OnExec = (command: string, channel: ServerChannel, connection: Connection) => void;

/**
 * A real SSH server (ssh2's own) in this process, on a loopback port of the system's choice: it stands in for a
 * machine's sshd. Its commands run under `sh -c` with the given environment, as sshd runs them under the login shell,
 * unless the test says what else happens.
 */
export interface SshServer {
  readonly target: SshTarget;
  /** Every command line that was asked for. */
  readonly commands: string[];
  onExec: OnExec;
  /** From now on requests are heard and not answered. */
  deaf: boolean;
  /** Whether it connects clients to other ports, from the next connection on, as with AllowTcpForwarding. */
  forwards: boolean;
  /** Every address and port that it was asked to connect to. */
  readonly forwarded: string[];
  /** How many clients are logged in. */
  clients(): number;
  /** Forgets commands, and behaves again. */
  reset(): void;
  /** Cuts every connection, as a machine that loses its power. */
  cut(): void;
  /** Sends what is no SSH on every connection. */
  garble(): void;
  close(): Promise<void>;
}

export async function startSshServer(env: Readonly<Record<string, string>> = {}): Promise<SshServer> {
  const hostKey = newKeyPair('host');
  const clientKey = newKeyPair('client');
  const accepted = clientKey.publicKey.split(' ')[1] ?? '';
  const commands: string[] = [];
  const forwarded: string[] = [];
  const connections = new Set<Connection>();
  const sockets = new Set<Socket>();
  const server = new ssh2.Server({ hostKeys: [hostKey.privateKey] }, (connection) => {
    connections.add(connection);
    connection.on('error', () => {}); // The client may go away at any moment.
    connection.on('close', () => connections.delete(connection));
    connection.on('authentication', (context) => {
      const isKey = context.method === 'publickey' && context.key.data.toString('base64') === accepted;
      if (isKey) context.accept();
      else context.reject(['publickey']);
    });
    // Without a listener ssh2 says that it is prohibited, as sshd does.
    if (self.forwards) {
      connection.on('tcpip', (accept, reject, { destIP, destPort }) => {
        forwarded.push(`${destIP}:${destPort}`);
        const socket = createConnection(destPort, destIP);
        socket.once('error', () => reject?.());
        socket.once('connect', () => {
          const channel = accept();
          socket.removeAllListeners('error').on('error', () => channel.close());
          channel.on('error', () => socket.destroy()).on('close', () => socket.destroy());
          channel.pipe(socket).pipe(channel);
        });
      });
    }
    connection.on('session', (acceptSession) => {
      acceptSession().on('exec', (accept, _reject, { command }) => {
        commands.push(command);
        if (!self.deaf) self.onExec(command, accept(), connection);
      });
    });
  });
  // The sockets themselves, for cutting them without a goodbye.
  (server as unknown as { _srv: NodeJS.EventEmitter })._srv.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const self: SshServer = {
    target: {
      name: 'k8sworker1',
      address: '127.0.0.1',
      port,
      user: 'root',
      privateKey: clientKey.privateKey,
      hostKey: hostKey.publicKey,
    },
    commands,
    onExec: inShell(env),
    deaf: false,
    forwards: true,
    forwarded,
    clients: () => connections.size,
    reset() {
      commands.length = 0;
      self.onExec = inShell(env);
      self.deaf = false;
      self.forwards = true;
      forwarded.length = 0;
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    garble() {
      for (const socket of sockets) socket.write(Buffer.alloc(512, 'x'));
    },
    close: async () => {
      for (const connection of connections) connection.end();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return self;
}

/** Runs a command as sshd does: standard input, output, error and the exit code or signal are the command's. */
function inShell(env: Readonly<Record<string, string>>): OnExec {
  return (command, channel) => {
    const child = spawn('sh', ['-c', command], { env: { ...process.env, ...env } });
    channel.pipe(child.stdin);
    child.stdin.on('error', () => {}); // It may end without having read everything.
    child.stdout.pipe(channel, { end: false });
    child.stderr.pipe(channel.stderr, { end: false });
    channel.on('close', () => child.kill('SIGKILL'));
    child.on('close', (code, signal) => {
      if (signal === null) channel.exit(code ?? 0);
      else channel.exit(signal.replace('SIG', ''));
      channel.end();
    });
  };
}
