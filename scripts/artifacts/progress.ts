import type { Emit } from '../shared/events.ts';

/** One build's part of the work. */
export interface Weight {
  readonly id: string;
  readonly title: string;
  /** Measured alone on two cores. */
  readonly seconds: number;
  readonly lines: number;
}

/** Says how far concurrent builds are: their logs' lines against the measured number, weighted by measured seconds. */
export class BuildProgress {
  readonly #emit: Emit;
  readonly #now: () => number;
  readonly #started: number;
  readonly #builds = new Map<
    string,
    { weight: Weight; lines: number; state: 'waiting' | 'running' | 'done' }
  >();
  #emittedAt = Number.NEGATIVE_INFINITY;

  constructor(weights: readonly Weight[], emit: Emit, now: () => number = () => performance.now()) {
    this.#emit = emit;
    this.#now = now;
    this.#started = now();
    for (const weight of weights) this.#builds.set(weight.id, { weight, lines: 0, state: 'waiting' });
  }

  start(id: string): void {
    this.#set(id, 'running');
    const running = [...this.#builds.values()].filter(({ state }) => state === 'running');
    this.#emit({ type: 'note', text: `building ${running.map(({ weight }) => weight.title).join('; ')}` });
  }

  line(id: string): void {
    const build = this.#builds.get(id);
    if (build !== undefined) build.lines += 1;
    if (this.#now() - this.#emittedAt >= 1000) this.#report();
  }

  /** Also for a build that turned out to be another labup's. */
  finish(id: string): void {
    this.#set(id, 'done');
    this.#report();
  }

  /** Seconds of measured work that are done, that there are in all, and that are left at the speed seen so far. */
  estimate(): { done: number; total: number; secondsLeft: number } {
    let done = 0;
    let total = 0;
    for (const { weight, lines, state } of this.#builds.values()) {
      // Logs differ by a few lines from host to host, so only an ended build counts in full.
      const part = state === 'done' ? 1 : Math.min(0.98, lines / weight.lines);
      done += weight.seconds * part;
      total += weight.seconds;
    }
    const elapsed = (this.#now() - this.#started) / 1000;
    // Before a tenth is done the speed is noise. Builds overlap on two cores, so a fresh estimate is the plain sum.
    const pace = done > total / 10 ? elapsed / done : 1;
    return { done: Math.round(done), total, secondsLeft: Math.ceil((total - done) * pace) };
  }

  #set(id: string, state: 'running' | 'done'): void {
    const build = this.#builds.get(id);
    if (build !== undefined) build.state = state;
  }

  #report(): void {
    this.#emittedAt = this.#now();
    this.#emit({ type: 'progress', ...this.estimate() });
  }
}
