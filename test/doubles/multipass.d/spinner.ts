/** The client's progress, as bytes on standard output, terminal or not (src/client/cli/cmd/animated_spinner.cpp). */
const CLEAR = '\x1B[2K\x1B[0A\x1B[0E';
const FRAMES = ['/', '-', '\\', '|'];

export class Spinner {
  readonly #out: (text: string) => void;
  readonly #on: boolean;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;

  constructor(out: (text: string) => void, on: boolean) {
    this.#out = out;
    this.#on = on;
  }

  /** Shows a message in place of the one before. */
  show(message: string): void {
    if (!this.#on) return;
    this.stop();
    this.#out(`${CLEAR}${message}  `);
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), 100);
  }

  /** Shows how much is done of something. */
  percent(message: string, percent: number): void {
    if (!this.#on) return;
    this.stop();
    this.#out(`\r${message}${percent}%`);
  }

  stop(): void {
    if (!this.#on) return;
    if (this.#timer !== undefined) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#out('\b ');
    }
    this.#out(CLEAR);
  }

  #draw(): void {
    this.#out(`\b${FRAMES[this.#frame++ % FRAMES.length]}`);
  }
}
