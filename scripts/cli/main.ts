import { CommanderError } from 'commander';
import { debianArtifacts } from '../commands/artifact-source.ts';
import { localExecutor } from '../exec/local.ts';
import { realDeps, type Terminal } from './deps.ts';
import { errorLines, exitCodeOf } from './print-error.ts';
import { type BinName, program } from './program.ts';
import { realHandlers } from './real-handlers.ts';

/** Runs one command and returns its exit code. Prints data on stdout, everything else on stderr; never exits. */
export async function main(name: BinName, argv: readonly string[], terminal: Terminal): Promise<number> {
  const quiet = argv.includes('--json');
  const deps = realDeps(terminal, quiet, (cacheDir) => debianArtifacts(localExecutor(), cacheDir));
  const handlers = realHandlers(deps, terminal);
  try {
    const root = program(name, handlers);
    root.configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    });
    await root.parseAsync([...argv], { from: 'user' });
    return handlers.exitCode();
  } catch (error) {
    await deps.closeDisplay();
    // commander has already said what is wrong with the command line.
    if (!(error instanceof CommanderError)) deps.say(errorLines(error).join('\n'));
    return exitCodeOf(error);
  } finally {
    await deps.closeDisplay();
  }
}
