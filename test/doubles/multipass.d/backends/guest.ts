import { Client, type ClientChannel, type SFTPWrapper } from 'ssh2';
import { escapeCommand } from '../quote.ts';
import type { Connection, Ended, FileInfo, Files, Streams } from './backend.ts';

const READY_MS = 20_000;

/** An SSH connection as ubuntu with the daemon's key; host keys are not looked at, as the real one does. */
export async function connect(address: string, privateKey: string): Promise<Connection> {
  const client = new Client();
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve);
    // Not once: ssh2 tells some failures twice, and a connection that breaks later ends what uses it, not the program.
    client.on('error', reject);
    client.connect({
      host: address,
      username: 'ubuntu',
      privateKey,
      readyTimeout: READY_MS,
      keepaliveInterval: 15_000,
    });
  });
  return {
    exec: (commands, streams) => exec(client, commands, streams),
    files: async () =>
      remoteFiles(
        await new Promise<SFTPWrapper>((resolve, reject) => {
          client.sftp((error, sftp) => (error ? reject(error) : resolve(sftp)));
        }),
      ),
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

const S_IFMT = 0o170000;
const KINDS: Readonly<Record<number, FileInfo['kind']>> = { 9604: 'folder', 21609: 'link' };

function remoteFiles(sftp: SFTPWrapper): Files {
  const call = <T>(run: (done: (error: Error | null | undefined, value?: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) => {
      run((error, value) => (error ? reject(error) : resolve(value as T)));
    });
  return {
    async stat(path, follow = false) {
      const found = await call<{ mode: number }>((done) =>
        follow ? sftp.stat(path, done) : sftp.lstat(path, done),
      ).catch((error: Error & { code?: number }) => {
        // SSH_FX_NO_SUCH_FILE
        if (error.code === 2) return undefined;
        throw error;
      });
      if (found === undefined) return undefined;
      return { kind: KINDS[found.mode & S_IFMT] ?? 'file', mode: found.mode & 0o7777 };
    },
    list: async (folder) =>
      (await call<readonly { filename: string }[]>((done) => sftp.readdir(folder, done))).map(
        ({ filename }) => filename,
      ),
    read: (path) => sftp.createReadStream(path),
    write: (path) => sftp.createWriteStream(path),
    makeFolder: (path) => call((done) => sftp.mkdir(path, done)),
    readLink: (path) => call<string>((done) => sftp.readlink(path, done)),
    link: (target, path) => call((done) => sftp.symlink(target, path, done)),
    setMode: (path, mode) => call((done) => sftp.chmod(path, mode, done)),
  };
}
