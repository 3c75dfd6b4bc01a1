import { messageOf } from '../../../../scripts/shared/errors.ts';
import type { Ended } from '../backends/backend.ts';
import { reachDaemon, type Seen } from '../daemon/daemon.ts';
import { select } from '../daemon/observe.ts';
import { connectFromClient } from '../daemon/ready.ts';
import { Failure, failed, RC, Refusal, usage } from '../failures.ts';
import type { Call } from '../io.ts';
import { runJob } from '../jobs.ts';
import { isModern } from '../knobs.ts';
import { stdinIsDenied } from '../snap.ts';
import { spinning } from '../spinner.ts';
import { as, type Command } from './command.ts';

export const exec: Command = {
  names: ['exec'],
  summary: 'Run a command on an instance',
  synopsis: '<name> [--] <command>',
  options: [{ names: ['working-directory', 'd'], value: true }, { names: ['no-map-working-directory', 'n'] }],
  async run(call, given) {
    const folder = given.value('working-directory');
    const unmapped = given.has('no-map-working-directory');
    if (folder !== undefined && unmapped) {
      throw usage('Options --working-directory and --no-map-working-directory clash');
    }
    const [name = '', ...argv] = given.names;
    if (argv.length === 0) throw usage('Wrong number of arguments');
    // Without either option the client first asks for mounts, to map its own folder; a refusal is printed, and it goes on.
    if (folder === undefined && !unmapped) await askForMounts(call, name);
    const instance = await running(call, name);
    return repeat(call, instance, commandsFor(argv, folder));
  },
};

async function askForMounts(call: Call, name: string): Promise<void> {
  try {
    select(await (await reachDaemon(call)).instances(), [name], true);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    call.err(failed('exec', error).text);
  }
}

/** The instance, started first where it is stopped or suspended. */
async function running(call: Call, name: string): Promise<Seen> {
  const find = async () => {
    const [found] = select(await (await reachDaemon(call)).instances(), [name], false) as readonly Seen[];
    if (found === undefined) throw new Error(`select found no ${name}`);
    if (found.now === 'Unknown') throw new Refusal('Cannot retrieve credentials in unknown state');
    return found;
  };
  const found = await find();
  if (found.now === 'Running') return found;
  await as('start', () =>
    spinning(call, `Starting ${name}`, (spinner) =>
      runJob(call, { operation: 'start', request: { names: [name] } }, { spinner }),
    ),
  );
  return find();
}

/** With a folder in force, sudo gets its words unquoted, through a shell (src/client/cli/cmd/exec.cpp). */
function commandsFor(argv: readonly string[], folder: string | undefined): readonly (readonly string[])[] {
  if (folder === undefined) return [argv];
  if (argv[0] === 'sudo') return [['sudo', 'sh', '-c', `cd ${folder} && sudo -u ubuntu ${argv.join(' ')}`]];
  return [['cd', folder], argv];
}

/** Up to 1.16 a guest's exit code 4 is taken for the client's own "retry", and the command runs again, for ever (#3771). */
async function repeat(call: Call, instance: Seen, commands: readonly (readonly string[])[]): Promise<number> {
  const retries = call.knobs.execRetryLoop ?? !isModern(call.knobs);
  for (;;) {
    const ended = await runOnce(call, instance, commands);
    if (ended.signal !== undefined) return RC.shell;
    if (ended.code === RC.retry && retries) continue;
    return ended.code ?? RC.shell;
  }
}

async function runOnce(call: Call, instance: Seen, commands: readonly (readonly string[])[]): Promise<Ended> {
  const connection = await connectFromClient(call, instance).catch((error: unknown) => {
    const code = isModern(call.knobs) ? RC.shell : RC.commandFail;
    throw new Failure(code, `exec failed: ${messageOf(error)}\n`);
  });
  try {
    return await connection.exec(commands, {
      stdin: stdinIsDenied(call) ? undefined : call.stdin(),
      terminal: call.stdinIs === 'terminal' && call.stdoutIsTerminal,
      out: (chunk) => call.out(chunk),
      err: (chunk) => call.err(chunk),
    });
  } finally {
    connection.close();
  }
}
