import { CommanderError } from 'commander';
import type { Deps } from '../commands/deps.ts';
import { Interrupted } from '../shared/errors.ts';
import { realDeps, type Terminal } from './deps.ts';
import { errorDocument, errorLines, exitCodeOf } from './print-error.ts';
import { type BinName, program } from './program.ts';
import { realHandlers } from './real-handlers.ts';

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
