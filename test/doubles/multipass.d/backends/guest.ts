import { Client, type ClientChannel } from 'ssh2';
import { escapeCommand } from '../quote.ts';
import type { Connection, Ended, Streams } from './backend.ts';

const READY_MS = 20_000;

/** An SSH connection as ubuntu with the daemon's key; host keys are not looked at, as the real one does. */
export async function connect(address: string, privateKey: string, port = 22): Promise<Connection> {
  const client = new Client();
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve);
    // Not once: ssh2 tells some failures twice, and a connection that breaks later ends what uses it, not the program.
    client.on('error', reject);
    // Where a server goes away between its greeting and the login, ssh2 has no error, and its timeout is over.
    client.once('close', () => reject(new Error('the connection was closed before the login')));
    client.connect({
      host: address,
      port,
      username: 'ubuntu',
      privateKey,
      readyTimeout: READY_MS,
      keepaliveInterval: 15_000,
    });
  });
  return {
    exec: (commands, streams) => exec(client, commands, streams),
    close: () => client.end(),
  };
}

function exec(client: Client, commands: readonly (readonly string[])[], streams: Streams): Promise<Ended> {
  const line = commands.map(escapeCommand).join(' && ');
  const pty = streams.terminal ? { pty: { term: process.env.TERM ?? 'xterm' } } : {};
  return new Promise((resolve, reject) => {
    client.exec(line, pty, (error: Error | undefined, channel: ClientChannel) => {
      if (error) return reject(error);
      let ended: Ended | undefined;
      channel.on('exit', (code: number | null, signal?: string) => {
        ended = code === null ? { signal: signal ?? '' } : { code };
      });
      channel.on('data', streams.out);
      channel.stderr.on('data', streams.err);
      channel.on('error', reject);
      channel.on('close', () => {
        if (ended !== undefined) resolve(ended);
        else reject(new Error('the connection was lost'));
      });
      if (streams.stdin === undefined) channel.end();
      else streams.stdin.pipe(channel);
    });
  });
}
