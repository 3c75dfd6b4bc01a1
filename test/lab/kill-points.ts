/** When a labup is killed: in which step, and how far into it, as a part of the time that the step takes. */
export interface KillPoint {
  readonly step: string;
  readonly part: number;
}

/** Steps that take long enough for a kill in their middle, and in which most is half-done then. */
const LONG_STEPS = ['control-plane', 'join'];

/** As many random moments inside the long steps as wanted, the same ones for the same seed. */
export function killPoints(seed: number, count: number): readonly KillPoint[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => ({
    step: LONG_STEPS[Math.floor(random() * LONG_STEPS.length)] ?? '',
    part: Math.round(random() * 100) / 100,
  }));
}

/** Numbers from 0 up to 1, the same ones for the same seed: mulberry32, https://github.com/bryc/code (jshash/PRNGs.md). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
