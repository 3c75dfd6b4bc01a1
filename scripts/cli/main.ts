import { setMaxListeners } from 'node:events';
import { CommanderError } from 'commander';
import type { Deps } from '../commands/deps.ts';
import { EXIT, type ExitCode, Interrupted, LabError, messageOf } from '../shared/errors.ts';
import { realDeps, type Terminal } from './deps.ts';
import { realHandlers } from './handlers.ts';
import { type BinName, program } from './program.ts';
import { colors } from './text.ts';

/** Runs a command of the package on this process: the only place that touches signals and the exit code. */
export async function runBin(name: BinName): Promise<void> {
  const controller = new AbortController();
  // Every command on every machine listens; Node would warn of a leak from the eleventh on.
  setMaxListeners(0, controller.signal);
  const stop = () => {
    // A second Ctrl-C must always get the user out.
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const { stdin, stdout, stderr, env } = process;
  // Whoever reads us may have had enough, as in `lab logs | head`: no reason to fail.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  const terminal = { cwd: process.cwd(), env, stdin, stdout, stderr, signal: controller.signal };
  process.exitCode = await main(name, process.argv.slice(2), terminal);
  // Daemons, sockets and pipes of children must not keep a finished command alive.
  await new Promise<void>((resolve) => stdout.write('', () => resolve()));
  process.exit();
}

/**
 * Runs one command and returns its exit code. Prints data on stdout, everything else on stderr; never exits. `makeDeps`
 * is for tests: it gives the command its effects once the command line is understood; `quiet` is --json.
 */
export async function main(
  name: BinName,
  argv: readonly string[],
  terminal: Terminal,
  makeDeps: (terminal: Terminal, quiet: boolean) => Deps = realDeps,
): Promise<number> {
  // Only for errors in the command line itself; what is behind "--" belongs to another program.
  let json = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined).includes('--json');
  const handlers = realHandlers((args) => {
    json = args.json === true;
    return makeDeps(terminal, json);
  }, terminal);
  try {
    const root = program(name, handlers, {
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    });
    await root.parseAsync([...argv], { from: 'user' });
    return handlers.exitCode();
  } catch (thrown) {
    // Whatever Ctrl-C broke first (a child of ours gets it as well), it was Ctrl-C.
    const error = terminal.signal.aborted && !(thrown instanceof Interrupted) ? new Interrupted() : thrown;
    const code = exitCodeOf(error);
    if (json && code !== 0) terminal.stdout.write(`${JSON.stringify(errorDocument(error), null, 2)}\n`);
    // commander has already said what is wrong with the command line.
    else if (!(error instanceof CommanderError)) terminal.stderr.write(`${errorLines(error).join('\n')}\n`);
    return code;
  }
}

const REPORT_IT = 'report it with the lines above and the output of  npx lab logs';

const CODE_NAMES: Readonly<Record<ExitCode, string>> = {
  [EXIT.pass]: 'pass',
  [EXIT.wrong]: 'wrong',
  [EXIT.userMustAct]: 'user-must-act',
  [EXIT.strict]: 'strict',
  [EXIT.harness]: 'harness',
  [EXIT.bug]: 'bug',
  [EXIT.interrupted]: 'interrupted',
};

/** What a thrown thing means to the caller of the command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof LabError) return error.exitCode;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.pass : EXIT.userMustAct;
  return EXIT.bug;
}

/** An error as the one document that --json prints; `code` is the exit code in words. */
export function errorDocument(error: unknown): unknown {
  const exitCode = exitCodeOf(error);
  const code = CODE_NAMES[exitCode];
  if (error instanceof LabError) {
    const { message, details, next } = error;
    return { schemaVersion: 1, error: { code, message, details, next: next ?? null } };
  }
  const isUsage = error instanceof CommanderError;
  return {
    schemaVersion: 1,
    error: {
      code,
      message: messageOf(error).replace(/^error: /, ''),
      details: isUsage ? [] : stackOf(error),
      next: isUsage ? '--help shows the options' : REPORT_IT,
    },
  };
}

/** The lines to print for an error: what failed, details, next command; a stack only for bugs of the lab itself. */
export function errorLines(error: unknown): readonly string[] {
  if (error instanceof LabError) {
    return [
      `${colors.red('error:')} ${error.message}`,
      ...error.details.map((line) => `  ${line}`),
      ...(error.next === undefined ? [] : [`${colors.bold('next:')}  ${error.next}`]),
    ];
  }
  return [
    `${colors.red('error:')} This is a bug in the lab: ${messageOf(error)}`,
    ...stackOf(error),
    `${colors.bold('next:')}  ${REPORT_IT}`,
  ];
}

function stackOf(error: unknown): readonly string[] {
  return error instanceof Error && error.stack ? error.stack.split('\n').slice(1, 8) : [];
}
