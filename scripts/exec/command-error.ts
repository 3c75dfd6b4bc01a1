import { EXIT, LabError } from '../shared/errors.ts';
import { quoteArgv } from './quote.ts';

/** How a command ended when it did not end well. */
export interface CommandOutcome {
  readonly exitCode: number | null;
  /** "SIGKILL", "timeout after 60 s", "connection lost"; absent for a plain exit code. */
  readonly how?: string;
  readonly stdout: string;
  readonly stderr: string;
}

const TAIL_LINES = 12;

/** A command that failed: where, what (pasteable), how, and the end of what it said. */
export class CommandError extends LabError {
  readonly where: string;
  readonly argv: readonly string[];
  readonly outcome: CommandOutcome;

  constructor(where: string, argv: readonly string[], outcome: CommandOutcome, cause?: unknown) {
    const how = outcome.how ?? `exit code ${outcome.exitCode}`;
    super(EXIT.wrong, `${argv[0] ?? 'command'} failed on ${where} (${how}).`, {
      details: [`command: ${shorten(quoteArgv(argv))}`, ...tail(outcome)],
      ...(cause === undefined ? {} : { cause }),
    });
    this.where = where;
    this.argv = argv;
    this.outcome = outcome;
  }
}

function tail({ stdout, stderr }: CommandOutcome): string[] {
  const said = stderr.trim() === '' ? stdout : stderr;
  return said
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .slice(-TAIL_LINES);
}

function shorten(command: string): string {
  return command.length <= 400 ? command : `${command.slice(0, 400)} …`;
}
