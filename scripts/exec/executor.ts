import { EXIT, LabError } from '../shared/errors.ts';

/** How a command is run. `argv` is never a shell string: what needs a shell says so, with argv ['sh', '-c', ...]. */
export interface RunOptions {
  /** Written to the command's standard input, which is closed otherwise. */
  readonly input?: string | Buffer;
  /** A file of this host that becomes the command's standard input, for what is too large to hold. */
  readonly inputFile?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Exit codes that are an answer and not a failure; default [0]. */
  readonly okCodes?: readonly number[];
  /** Each complete line of standard output as it comes. */
  readonly onLine?: (line: string) => void;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** For okCodes: whatever a command ends with is its result. */
export const ANY_CODE: readonly number[] = Array.from({ length: 256 }, (_, code) => code);

/** Runs commands in one place: this host, or a machine over SSH. Throws CommandError on any code outside okCodes. */
export interface Executor {
  /** Where commands run, for messages: "this host" or a machine's name. */
  readonly where: string;
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>;
}

/** Quotes one word for a POSIX shell (zx's own quoting is bash's $'…', which a remote sh may not read). */
export function quoteWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** An argv as one line that can be pasted into a POSIX shell. */
export function quoteArgv(argv: readonly string[]): string {
  return argv.map(quoteWord).join(' ');
}

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
