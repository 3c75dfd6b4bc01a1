import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Forward, forwardOver } from '../../scripts/exec/forward.ts';
import { connectSsh } from '../../scripts/exec/ssh.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { type SshServer, startSshServer } from '../fakes/ssh-server.ts';

let server: SshServer;
/** What the machine can reach: answers each line in capitals. */
let api: Server;
let apiPort: number;
let forward: Forward | undefined;
let connections: number;

const machine = () => {
  connections += 1;
  return connectSsh(server.target, 5_000);
};
const listen = (port: number) => new Promise<void>((done) => api.listen(port, '127.0.0.1', done));

beforeEach(async () => {
  server = await startSshServer();
  connections = 0;
  api = createServer((socket) => {
    socket.on('error', () => {}); // Clients go away as they like.
    socket.on('data', (data) => socket.write(data.toString().toUpperCase()));
  });
  await listen(0);
  apiPort = (api.address() as AddressInfo).port;
});
afterEach(async () => {
  forward?.close();
  forward = undefined;
  api.close();
  await server.close();
});

/** What comes back for a line; empty where the connection is closed instead. */
function ask(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1', () => socket.write(line));
    socket.once('data', (data) => {
      resolve(data.toString());
      socket.destroy();
    });
    socket.once('close', () => resolve(''));
    socket.once('error', reject);
  });
}

describe('a forward', () => {
  it('leads to a port that the machine can reach, for many at once', async () => {
    forward = await forwardOver(machine, '127.0.0.1', apiPort);
    const { port } = forward;
    const said = await Promise.all(['a', 'b', 'c', 'd'].map((line) => ask(port, line)));
    expect(said).toEqual(['A', 'B', 'C', 'D']);
    expect(connections).toBe(1);
  });

  it('is made before anything listens there, and works when it does', async () => {
    await new Promise((done) => api.close(done));
    forward = await forwardOver(machine, '127.0.0.1', apiPort);
    expect(await ask(forward.port, 'a')).toBe('');
    await listen(apiPort);
    expect(await ask(forward.port, 'a')).toBe('A');
    expect(connections).toBe(1);
  });

  it('gets over the loss of its connection', async () => {
    forward = await forwardOver(machine, '127.0.0.1', apiPort);
    server.cut();
    await expect.poll(() => server.clients()).toBe(0);
    expect(await ask(forward.port, 'a')).toBe('A');
    expect(connections).toBe(2);
  });

  it('says so where the machine forwards nothing', async () => {
    server.forwards = false;
    const error = await forwardOver(machine, '127.0.0.1', apiPort).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect(String(error)).toContain('The sshd of k8sworker1 refuses to forward connections.');
    await expect.poll(() => server.clients()).toBe(0);
  });

  it('ends, with all that goes through it', async () => {
    const { port, close } = await forwardOver(machine, '127.0.0.1', apiPort);
    const socket = connect(port, '127.0.0.1');
    const ended = new Promise((resolve) => socket.once('close', resolve));
    await new Promise((resolve) => socket.once('connect', resolve));
    close();
    await ended;
    await expect(ask(port, 'a')).rejects.toThrow('ECONNREFUSED');
    await expect.poll(() => server.clients()).toBe(0);
  });
});
