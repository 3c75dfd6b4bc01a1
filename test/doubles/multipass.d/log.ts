import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Transform } from 'node:stream';

/**
 * What was called, for assertions. `argv.jsonl` of the state folder has two lines for each call: {event: "call", id, pid,
 * at, cwd, argv} and {event: "end", id, code, ms, stdinBytes}. What was read from standard input is kept apart, in
 * `stdin/ID`: it may hold secrets, and an argv must not.
 */
export class CallLog {
  readonly #folder: string;
  readonly #id: string;
  readonly #started = performance.now();
  #stdinBytes = 0;

  constructor(folder: string, argv: readonly string[], cwd: string) {
    this.#folder = folder;
    this.#id = `${Date.now()}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    mkdirSync(join(folder, 'stdin'), { recursive: true, mode: 0o700 });
    const at = new Date().toISOString();
    this.#line({ event: 'call', id: this.#id, pid: process.pid, at, cwd, argv });
  }

  /** A stream that writes down what passes through it. */
  tap(): Transform {
    const path = join(this.#folder, 'stdin', this.#id);
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#stdinBytes += chunk.length;
        appendFileSync(path, chunk, { mode: 0o600 });
        done(null, chunk);
      },
    });
  }

  end(code: number): void {
    const ms = Math.round(performance.now() - this.#started);
    this.#line({ event: 'end', id: this.#id, code, ms, stdinBytes: this.#stdinBytes });
  }

  // One write for a line: appends of several processes do not mix.
  #line(value: object): void {
    appendFileSync(join(this.#folder, 'argv.jsonl'), `${JSON.stringify(value)}\n`, { mode: 0o600 });
  }
}
