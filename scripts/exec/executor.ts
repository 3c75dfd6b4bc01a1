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

/** Runs commands in one place: this host, or a machine over SSH. Throws CommandError on any code outside okCodes. */
export interface Executor {
  /** Where commands run, for messages: "this host" or a machine's name. */
  readonly where: string;
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>;
}
