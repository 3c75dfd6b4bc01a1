import { CommandError, type Executor, type RunOptions } from '../../scripts/exec/executor.ts';
import { Interrupted } from '../../scripts/shared/errors.ts';

/** What a command comes to: its standard output, or more of it. */
export type Reply =
  | string
  | { readonly exitCode?: number; readonly stdout?: string; readonly stderr?: string };

/** An executor that starts nothing: it notes what it was asked to run and answers what the test says. */
export interface RecordingExecutor extends Executor {
  /** Every command, in order. */
  readonly calls: { readonly argv: readonly string[]; readonly options: RunOptions }[];
  /** The same as lines. */
  lines(): readonly string[];
}

/** `reply` undefined means that the program is not there: exit code 127. */
export function recordingExecutor(
  reply: (
    argv: readonly string[],
    options: RunOptions,
  ) => Reply | undefined | Promise<Reply | undefined> = () => '',
  where = 'this host',
): RecordingExecutor {
  const calls: RecordingExecutor['calls'] = [];
  return {
    where,
    calls,
    lines: () => calls.map(({ argv }) => argv.join(' ')),
    async run(argv, options = {}) {
      if (options.signal?.aborted) throw new Interrupted();
      calls.push({ argv, options });
      const said = (await reply(argv, options)) ?? { exitCode: 127, stderr: `${argv[0]}: not found` };
      const result = {
        exitCode: 0,
        stdout: '',
        stderr: '',
        ...(typeof said === 'string' ? { stdout: said } : said),
      };
      for (const line of result.stdout.split('\n').filter((each) => each !== '')) options.onLine?.(line);
      if ((options.okCodes ?? [0]).includes(result.exitCode)) return result;
      throw new CommandError(where, argv, result);
    },
  };
}
