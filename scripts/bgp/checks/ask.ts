import { type Executor, quoteArgv } from '../../exec/executor.ts';
import { messageOf, rethrowIfInterrupted } from '../../shared/errors.ts';

/**
 * One answer. `fault` says whose failure it is: the lab's where the command ran and failed (its daemon is down), the
 * harness's where the command could not be run or its answer not be read.
 */
export type Answer<T> =
  | {
      readonly ok: true;
      readonly value: T;
      /** The lines of it that its reader does not know; the value is without them. */
      readonly unread?: readonly string[];
    }
  | { readonly ok: false; readonly fault: 'lab' | 'harness'; readonly detail: string };

/** The answer of a machine that nobody asked. */
export const NOT_ASKED = { ok: false, fault: 'harness', detail: 'it was not asked' } as const;

/** U+001E, the record separator: no tool prints it. */
const MARK = '\u001e';
/** The shell's codes for a command that it could not start. */
const NOT_STARTED = [126, 127];

/** Runs all commands on one machine in one call. Every question gets an answer; throws Interrupted on abort only. */
export async function ask<K extends string>(
  executor: Executor,
  questions: Readonly<Record<K, readonly string[]>>,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Readonly<Record<K, Answer<string>>>> {
  const keys = Object.keys(questions) as K[];
  const script = keys
    .map((key) => `${quoteArgv(questions[key])}; printf '${MARK}%s${MARK}' "$?"; printf '${MARK}' >&2`)
    .join('\n');
  let answers: readonly Answer<string>[];
  try {
    const { stdout, stderr } = await executor.run(['sh', '-c', script], options);
    answers = split(stdout, stderr, keys.length);
  } catch (error) {
    rethrowIfInterrupted(error);
    const failure = { ok: false as const, fault: 'harness' as const, detail: messageOf(error) };
    answers = keys.map(() => failure);
  }
  const missing: Answer<string> = { ok: false, fault: 'harness', detail: 'the command gave no answer' };
  return Object.fromEntries(keys.map((key, index) => [key, answers[index] ?? missing])) as Record<
    K,
    Answer<string>
  >;
}

/** Standard output is output, MARK, exit code, MARK per command; standard error is output, MARK. */
function split(stdout: string, stderr: string, count: number): readonly Answer<string>[] {
  const parts = stdout.split(MARK);
  const complaints = stderr.split(MARK);
  return Array.from({ length: Math.min(count, Math.floor(parts.length / 2)) }, (_, index): Answer<string> => {
    const output = parts[index * 2] ?? '';
    const code = Number(parts[index * 2 + 1]);
    if (code === 0) return { ok: true, value: output };
    const said = (complaints[index] ?? '').trim() || output.trim() || `exit code ${code}`;
    return { ok: false, fault: NOT_STARTED.includes(code) ? 'harness' : 'lab', detail: said };
  });
}

/** Called by a parser for each line that it does not know and leaves out. */
export type LeaveOut = (line: string) => void;

/** Applies a parser; an answer that cannot be read is the harness's failure. */
export function read<T>(answer: Answer<string>, parse: (text: string, leaveOut: LeaveOut) => T): Answer<T> {
  if (!answer.ok) return answer;
  const unread: string[] = [];
  try {
    const value = parse(answer.value, (line) => unread.push(line));
    return { ok: true, value, ...(unread.length === 0 ? {} : { unread }) };
  } catch (error) {
    return { ok: false, fault: 'harness', detail: `its answer could not be read: ${messageOf(error)}` };
  }
}
