import { createReadStream } from 'node:fs';
import { type Duplex, Readable } from 'node:stream';
import type { NodeSSH } from 'node-ssh';
import type { ClientChannel } from 'ssh2';
import { Interrupted, LabFailure, messageOf } from '../shared/errors.ts';
import type { RenderedFile } from '../shared/files.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { CommandError, type Executor, quoteArgv, type RunOptions, type RunResult } from './executor.ts';
import { lineSplitter } from './local.ts';
import {
  dialThrough,
  type JumpHost,
  OtherHostKey,
  openChannel,
  openSsh,
  type SshHost,
} from './ssh-connection.ts';

/** How to reach a machine over SSH. */
export interface SshTarget extends SshHost {
  readonly name: string;
  /** The machine was there before the lab: what writeFiles replaces is kept, for labdown to put back. */
  readonly keepOriginals?: boolean;
  /** The host that connections go through; `address` is as that one knows the machine. */
  readonly jump?: JumpHost;
}

/** A machine over one SSH connection that all its commands share. */
export interface RemoteMachine extends Executor {
  readonly name: string;
  readonly address: string;
  /** Writes files atomically with their mode and owner; returns the paths whose content or mode was not as wanted. */
  writeFiles(files: readonly RenderedFile[]): Promise<readonly string[]>;
  /** Connects from the machine to an address and port. Throws ChannelRefused where that fails. */
  dial(address: string, port: number): Promise<Duplex>;
  close(): void;
}

/** Whoever answered showed another host key than the pinned one: it is not the machine that the lab made. */
export class HostKeyError extends LabFailure {
  constructor({ name, address }: SshTarget) {
    super(`${name} does not show the SSH host key that it was made with, so it is not trusted.`, {
      details: [`address: ${address}`, 'another machine has this address, or the key was replaced'],
      next: 'npx labdown --yes && npx labup --yes',
    });
  }
}

/**
 * Opens the connection, through the jump host where there is one. Throws HostKeyError where the host key is not the pinned
 * one, what dialThrough throws where the jump host is the problem, else when nothing answers.
 */
export async function connectSsh(target: SshTarget, timeoutMs: number): Promise<RemoteMachine> {
  const { address, port = 22, jump } = target;
  const sock = jump === undefined ? undefined : await dialThrough(jump, address, port, timeoutMs);
  const ssh = await openSsh(target, timeoutMs, sock).catch((error: unknown) => {
    sock?.close();
    throw error instanceof OtherHostKey ? new HostKeyError(target) : error;
  });
  // Everything that the lab does on a machine takes root.
  const become = target.user === 'root' ? [] : ['sudo', '--non-interactive', '--'];
  const run = (argv: readonly string[], options: RunOptions = {}) =>
    runRemote(ssh, target.name, [...become, ...argv], options);
  return {
    where: target.name,
    name: target.name,
    address: target.address,
    run,
    writeFiles: (files) => writeFiles(run, files, target.keepOriginals === true),
    dial: (to, toPort) => openChannel(ssh, to, toPort, TIMEOUTS.command),
    close: () => {
      ssh.dispose();
      // A machine that is gone never ends its side, and would keep the jump host's connection open.
      sock?.close();
    },
  };
}

async function runRemote(
  ssh: NodeSSH,
  where: string,
  argv: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const { timeoutMs, signal, env, cwd, okCodes = [0], onLine } = options;
  if (signal?.aborted) throw new Interrupted();
  const environment = Object.entries(env ?? {}).map(([name, value]) => `${name}=${value}`);
  const words = environment.length === 0 ? argv : withEnvironment(argv, environment);
  let channel: ClientChannel | undefined;
  let how: string | undefined;
  let giveUp = () => {};
  const stopped = new Promise<undefined>((resolve) => {
    giveUp = () => resolve(undefined);
  });
  // The other side may never confirm the close, or not even have opened the channel: what ends us is our own clock.
  const stop = (reason: string) => {
    how ??= reason;
    channel?.close();
    giveUp();
  };
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => stop(`timeout after ${timeoutMs / 1000} s`), timeoutMs);
  const onAbort = () => stop('interrupted');
  signal?.addEventListener('abort', onAbort, { once: true });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const lines = onLine === undefined ? undefined : lineSplitter(onLine);
  try {
    const running = ssh.execCommand(quoteArgv(words), {
      ...(cwd === undefined ? {} : { cwd }),
      ...stdinOf(options),
      onChannel: (opened) => {
        channel = opened;
        if (how !== undefined) opened.close();
      },
      onStdout: (chunk) => {
        stdout.push(chunk);
        lines?.push(chunk);
      },
      onStderr: (chunk) => stderr.push(chunk),
    });
    const ended = await Promise.race([running, stopped]);
    lines?.end();
    const said = {
      stdout: Buffer.concat(stdout).toString('utf8'),
      stderr: Buffer.concat(stderr).toString('utf8'),
    };
    const code = ended?.code ?? null;
    if (code !== null && how === undefined && okCodes.includes(code)) {
      return { exitCode: code, ...said };
    }
    if (signal?.aborted) throw new Interrupted();
    const lost = code === null ? (ended?.signal ?? 'connection lost') : undefined;
    const reason = how ?? lost;
    throw new CommandError(where, argv, {
      exitCode: code,
      ...said,
      ...(reason === undefined ? {} : { how: reason }),
    });
  } catch (error) {
    if (error instanceof CommandError || error instanceof Interrupted) throw error;
    throw new CommandError(
      where,
      argv,
      { exitCode: null, how: messageOf(error), stdout: '', stderr: '' },
      error,
    );
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

// sudo gives a command an environment of its own, so the variables come behind it.
function withEnvironment(argv: readonly string[], environment: readonly string[]): readonly string[] {
  const start = argv[0] === 'sudo' ? argv.indexOf('--') + 1 : 0;
  return [...argv.slice(0, start), 'env', ...environment, ...argv.slice(start)];
}

function stdinOf({ input, inputFile }: RunOptions): { readonly stdin?: Readable } {
  if (inputFile !== undefined) return { stdin: createReadStream(inputFile, { highWaterMark: 256 * 1024 }) };
  return input === undefined ? {} : { stdin: Readable.from([Buffer.from(input)], { objectMode: false }) };
}

// Reads the files as JSON on standard input, so that no content is ever in an argv; each is replaced atomically. With
// "keep" the first version of each is kept: /var/lib/lab/originals.json says where, or null where there was none, and
// for folders that are made (with a slash at the end).
const WRITE_FILES = `
import base64, json, os, shutil, sys
job = json.load(sys.stdin)
state = "/var/lib/lab"
def keep(path):
    index = state + "/originals.json"
    known = json.load(open(index)) if os.path.exists(index) else {}
    if path in known or path.startswith(state):
        return
    backup = state + "/originals" + path if os.path.exists(path) else None
    if backup:
        os.makedirs(os.path.dirname(backup), exist_ok=True)
        shutil.copy2(path, backup)
        os.chown(backup, os.stat(path).st_uid, os.stat(path).st_gid)
    os.makedirs(state, exist_ok=True)
    folder, made = os.path.dirname(path), {}
    while not os.path.exists(folder):
        made[folder + "/"] = None
        folder = os.path.dirname(folder)
    with open(index + ".new", "w") as out:
        json.dump({**known, **made, path: backup}, out)
    os.replace(index + ".new", index)
for f in job["files"]:
    path, mode, data = f["path"], f["mode"], base64.b64decode(f["content"])
    try:
        old = open(path, "rb").read()
        same = old == data and os.stat(path).st_mode & 0o7777 == mode
    except FileNotFoundError:
        same = False
    if same:
        continue
    if job["keep"]:
        keep(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tmp = path + ".lab-new"
    fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
    if f["owner"]:
        user, _, group = f["owner"].partition(":")
        shutil.chown(tmp, user, group or None)
    os.chmod(tmp, mode)
    os.replace(tmp, path)
    print(path)
`;

/**
 * Writes files on a machine atomically; with `keep` the first version of each is kept. Returns the paths whose content or
 * mode was not as wanted.
 */
export async function writeFiles(
  run: Executor['run'],
  files: readonly RenderedFile[],
  keep: boolean,
): Promise<readonly string[]> {
  if (files.length === 0) return [];
  const wanted = files.map((file) => ({
    path: file.path,
    mode: file.mode ?? 0o644,
    owner: file.owner ?? '',
    content: Buffer.from(file.content).toString('base64'),
  }));
  const { stdout } = await run(['python3', '-I', '-S', '-c', WRITE_FILES], {
    input: JSON.stringify({ keep, files: wanted }),
    timeoutMs: TIMEOUTS.command,
  });
  return stdout.split('\n').filter((line) => line !== '');
}
