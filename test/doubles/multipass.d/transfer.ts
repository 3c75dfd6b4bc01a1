import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../../scripts/shared/errors.ts';
import type { Files } from './backends/backend.ts';
import { logLine } from './failures.ts';

/** One side of a transfer: its word in messages, its files, and which of them the client may touch. */
export interface Side {
  readonly name: 'local' | 'remote';
  readonly files: Files;
  may(path: string): boolean;
}

interface Options {
  readonly recursive: boolean;
  readonly parents: boolean;
}

/** What goes wrong with one file: logged, and the others go on (src/ssh/sftp_client.cpp). */
class SftpError extends Error {}

/** Files that come from a stream have this mode. */
const STREAM_MODE = 0o664;

/** Copies a file or, asked to, a folder. False where something of it failed; `say` gets the client's log. */
export async function copy(
  from: Side,
  source: string,
  to: Side,
  target: string,
  options: Options,
  say: (text: string) => void,
): Promise<boolean> {
  const path = source.length > 1 ? source.replace(/\/+$/, '') : source;
  const log = (error: unknown): false => {
    if (!(error instanceof SftpError)) throw error;
    say(logLine('sftp', error.message));
    return false;
  };
  try {
    const kind = (await from.files.stat(path, true))?.kind;
    if (kind === 'folder') {
      if (!options.recursive) {
        throw new SftpError(`omitting ${from.name} directory "${source}": recursive mode not specified`);
      }
      return await copyFolder(from, path, to, await folderTarget(to, path, target, options), log);
    }
    await copyFile(from, path, to, await fileTarget(to, basename(path), target, options));
    return true;
  } catch (error) {
    return log(error);
  }
}

/** A stream into a file of the guest. */
export async function copyStream(
  stdin: Readable | undefined,
  to: Side,
  target: string,
  options: Options,
): Promise<void> {
  const path = await fileTarget(to, 'stream_output.dat', target, options);
  const fresh = (await kindOf(to, path)) === undefined;
  const opening = (error: unknown) => new Error(`cannot open remote file "${path}": ${reason(error)}`);
  const sink = to.files.write(path);
  await pipeline(stdin ?? [], sink).catch((error: unknown) => {
    throw opening(error);
  });
  if (fresh) await to.files.setMode(path, STREAM_MODE);
}

/** A file of the guest to standard output. */
export async function readToStream(from: Side, path: string, out: (chunk: Buffer) => void): Promise<void> {
  try {
    for await (const chunk of from.files.read(path)) out(Buffer.from(chunk as Buffer));
  } catch (error) {
    throw new Error(`cannot open remote file "${path}": ${reason(error)}`);
  }
}

async function copyFile(from: Side, source: string, to: Side, target: string): Promise<void> {
  const cannotOpen = (side: Side, path: string, why: string) =>
    new SftpError(`cannot open ${side.name} file "${path}": ${why}`);
  if (!from.may(source)) throw cannotOpen(from, source, 'Permission denied');
  if (!to.may(target)) throw cannotOpen(to, target, 'Permission denied');
  const info = await from.files.stat(source, true);
  if (info === undefined)
    throw cannotOpen(from, source, from.name === 'local' ? 'No such file or directory' : NO_FILE);
  const reading = from.files.read(source);
  let culprit = from;
  const writing = to.files.write(target);
  writing.on('error', () => {
    culprit = to;
  });
  await pipeline(reading, writing).catch((error: unknown) => {
    throw cannotOpen(culprit, culprit === from ? source : target, reason(error));
  });
  await to.files.setMode(target, info.mode & 0o777);
}

async function copyFolder(
  from: Side,
  source: string,
  to: Side,
  target: string,
  log: (error: unknown) => false,
): Promise<boolean> {
  let success = true;
  for (const name of await from.files.list(source)) {
    const [path, there] = [join(source, name), join(target, name)];
    try {
      const kind = (await from.files.stat(path))?.kind;
      if (kind === 'folder') {
        await makeFolder(to, there);
        success = (await copyFolder(from, path, to, there, log)) && success;
      } else if (kind === 'link') {
        await to.files.link(await from.files.readLink(path), there).catch((error: unknown) => {
          throw new SftpError(`cannot create ${to.name} symlink "${there}": ${reason(error)}`);
        });
      } else {
        await copyFile(from, path, to, there);
      }
    } catch (error) {
      success = log(error);
    }
  }
  const info = await from.files.stat(source, true);
  if (info !== undefined) await to.files.setMode(target, info.mode & 0o777);
  return success;
}

async function fileTarget(to: Side, name: string, target: string, options: Options): Promise<string> {
  if (options.parents) await makeParents(to, dirname(target));
  return (await kindOf(to, target)) === 'folder' ? join(target, name) : target;
}

async function folderTarget(to: Side, source: string, target: string, options: Options): Promise<string> {
  if (options.parents) await makeParents(to, dirname(target));
  const exists = (await kindOf(to, target)) !== undefined;
  const path = exists ? join(target, basename(source)) : target;
  await makeFolder(to, path);
  return path;
}

/** What is there; what may not be looked at counts as nothing, and writing to it will tell. */
async function kindOf(to: Side, path: string): Promise<string | undefined> {
  return to.files.stat(path, true).then(
    (info) => info?.kind,
    () => undefined,
  );
}

async function makeParents(to: Side, folder: string): Promise<void> {
  if (folder === '.' || folder === '/' || (await kindOf(to, folder)) !== undefined) return;
  await makeParents(to, dirname(folder));
  await makeFolder(to, folder);
}

async function makeFolder(to: Side, path: string): Promise<void> {
  if ((await kindOf(to, path)) === 'folder') return;
  await to.files.makeFolder(path).catch((error: unknown) => {
    throw new SftpError(`cannot create ${to.name} directory "${path}": ${reason(error)}`);
  });
}

const NO_FILE = 'SFTP server: No such file';

function reason(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EACCES') return 'Permission denied';
  if (code === 'ENOENT') return 'No such file or directory';
  if (code === 'ENOTDIR') return 'Not a directory';
  if (code === 'EISDIR') return 'Is a directory';
  return messageOf(error).replace(/^(No such file|Permission denied|Failure)$/, 'SFTP server: $1');
}
