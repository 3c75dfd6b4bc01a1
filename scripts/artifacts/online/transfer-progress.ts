import type { Emit } from '../../shared/events.ts';

const EVERY_MS = 1000;

/** Says how far several transfers are, once a second at most: names as they start and end, and bytes of those known. */
export class TransferProgress {
  readonly #emit: Emit;
  readonly #now: () => number;
  readonly #files: number;
  readonly #began: number;
  #finished = 0;
  #bytes = 0;
  #fetched = 0;
  #total = 0;
  #emittedAt = Number.NEGATIVE_INFINITY;

  constructor(files: number, emit: Emit, now: () => number = () => performance.now()) {
    this.#files = files;
    this.#emit = emit;
    this.#now = now;
    this.#began = now();
  }

  /** `bytes` of it are here from an earlier try. */
  start(name: string, total: number, here: number): void {
    this.#total += total;
    this.#bytes += here;
    this.#emit({
      type: 'note',
      text: here > 0 ? `continuing ${name} after ${megabytes(here)}` : `downloading ${name}`,
    });
  }

  /** A transfer that broke off: what it counted is taken back, for it is counted again. */
  undo(total: number, bytes: number): void {
    this.#total -= total;
    this.#bytes -= bytes;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#fetched += bytes;
    if (this.#now() - this.#emittedAt >= EVERY_MS) this.#report();
  }

  finish(name: string): void {
    this.#finished += 1;
    this.#emit({ type: 'note', text: `${name} is whole (${this.#finished} of ${this.#files})` });
    this.#report();
  }

  #report(): void {
    this.#emittedAt = this.#now();
    const seconds = (this.#emittedAt - this.#began) / 1000;
    // Only when all have said how large they are is there an end to count to.
    const left = Math.max(0, this.#total - this.#bytes);
    const secondsLeft = this.#fetched > 0 ? Math.ceil((left * seconds) / this.#fetched) : undefined;
    this.#emit({
      type: 'progress',
      done: this.#bytes,
      total: this.#total,
      ...(secondsLeft === undefined ? {} : { secondsLeft }),
    });
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
