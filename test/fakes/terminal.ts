import { PassThrough, Writable } from 'node:stream';
import type { Terminal } from '../../scripts/cli/deps.ts';

/** The streams of a process that is none: what is written is kept, what is read is typed by the test. */
export interface FakeTerminal extends Terminal {
  readonly out: () => string;
  readonly err: () => string;
  type(text: string): void;
}

export interface TerminalOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether standard input and standard error are a terminal; default no. */
  readonly tty?: boolean;
  readonly signal?: AbortSignal;
}

export function fakeTerminal({ cwd, env = {}, tty = false, signal }: TerminalOptions): FakeTerminal {
  const [stdout, stderr] = [sink(false), sink(tty)];
  const stdin = Object.assign(new PassThrough(), { isTTY: tty });
  return {
    cwd,
    env,
    signal: signal ?? new AbortController().signal,
    // The commands use no more of the process's streams than these have.
    stdin: stdin as unknown as NodeJS.ReadStream,
    stdout: stdout.stream as unknown as NodeJS.WriteStream,
    stderr: stderr.stream as unknown as NodeJS.WriteStream,
    out: stdout.text,
    err: stderr.text,
    type: (text) => void stdin.write(text),
  };
}

function sink(isTTY: boolean): { readonly stream: Writable; readonly text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString('utf8');
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY, columns: 100, rows: 40 }), text: () => text };
}
