import { Refusal } from './failures.ts';
import type { Call } from './io.ts';

/** The client's progress, as bytes on standard output, terminal or not (src/client/cli/cmd/animated_spinner.cpp). */
const CLEAR = '\x1B[2K\x1B[0A\x1B[0E';
const FRAMES = ['/', '-', '\\', '|'];

export class Spinner {
  readonly #out: (text: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;

  constructor({ out, knobs }: Call) {
    this.#out = knobs.spinner ? out : () => {};
  }

  start(message: string): void {
    this.#out(`${CLEAR}${message}  `);
    this.#frame = 0;
    const draw = () => this.#out(`\b${FRAMES[this.#frame++ % FRAMES.length]}`);
    draw();
    this.#timer = setInterval(draw, 100);
  }

  stop(): void {
    if (this.#timer !== undefined) this.#out('\b ');
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#out(CLEAR);
  }
}

/** Shows progress while something is done. A refusal stops it before its end does so again. */
export async function spinning<T>(
  call: Call,
  message: string | undefined,
  work: (spinner: Spinner) => Promise<T>,
): Promise<T> {
  const spinner = new Spinner(call);
  try {
    if (message !== undefined) spinner.start(message);
    return await work(spinner);
  } catch (error) {
    if (error instanceof Refusal) spinner.stop();
    throw error;
  } finally {
    spinner.stop();
  }
}
