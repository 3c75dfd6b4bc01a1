import { fstatSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { startBackground } from '../../../scripts/exec/local.ts';
import { messageOf } from '../../../scripts/shared/errors.ts';
import { runCommandLine } from './cli.ts';
import { backendOf } from './daemon/daemon.ts';
import { operations } from './daemon/operations.ts';
import type { Call, Io } from './io.ts';
import { doJob } from './jobs.ts';
import { readKnobs, stateFolder } from './knobs.ts';
import { CallLog } from './log.ts';

/** Exit code of a bug in the double itself, or of knobs that make no sense. */
const BROKEN = 70;

/** A call in these surroundings. Throws where the knobs are wrong. */
export function callOf(io: Io): Call {
  const folder = stateFolder(io.env);
  return { ...io, folder, knobs: readKnobs(folder, io.env) };
}

/** One call of the client, from command line to exit code, with its line in the log. */
export async function multipass(io: Io, argv: readonly string[]): Promise<number> {
  const folder = stateFolder(io.env);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = new CallLog(folder, argv, io.cwd);
  const code = await client(io, argv, log).catch((error: unknown) => {
    io.err(
      `The multipass test double itself failed: ${error instanceof Error ? error.stack : messageOf(error)}\n`,
    );
    return BROKEN;
  });
  log.end(code);
  return code;
}

async function client(io: Io, argv: readonly string[], log: CallLog): Promise<number> {
  const call = callOf(io);
  let tapped: Readable | undefined;
  const stdin = () => {
    tapped ??= io.stdin().pipe(log.tap());
    return tapped;
  };
  return runCommandLine({ ...call, stdin }, argv);
}

/** One job of the daemon. */
export async function worker(io: Io, jobFolder: string): Promise<void> {
  await doJob(jobFolder, operations(callOf(io)));
}

/** The program: a call of the client, a job of the daemon, or the removal of everything. */
export async function start(argv: readonly string[], program: string): Promise<void> {
  const io = processIo(program);
  const [first, second = ''] = argv;
  if (first === '--worker') {
    await worker(io, second);
    process.exit(0);
  }
  if (first === '--cleanup') {
    const { cleanUp } = await import('./cleanup.ts');
    process.exit(await cleanUp(callOf(io), backendOf(callOf(io))));
  }
  const code = await multipass(io, argv);
  await Promise.all(
    [process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write('', done))),
  );
  process.exit(code);
}

function processIo(program: string): Io {
  const stat = fstatSync(0);
  // Who reads our output may have gone: the real one ends as quietly.
  process.stdout.on('error', () => process.exit(1));
  return {
    env: process.env,
    cwd: process.cwd(),
    stdin: () => process.stdin,
    stdinIs: process.stdin.isTTY ? 'terminal' : stat.isFile() ? 'file' : 'pipe',
    stdoutIsTerminal: process.stdout.isTTY === true,
    out: (chunk) => process.stdout.write(chunk),
    err: (chunk) => process.stderr.write(chunk),
    background: (folder) =>
      startBackground([process.execPath, program, '--worker', folder], join(folder, 'worker.log')),
  };
}
