import type { StepTiming } from '../commands/steps.ts';

/** A duration in milliseconds as people read it: "0.4 s", "12 s", "2 min 05 s". */
export function durationText(ms: number): string {
  const seconds = ms / 1000;
  // Decided by what will be shown, so that 59.6 s is no "60 s".
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

/** An estimate of the time left, from seconds. */
export function leftText(seconds: number): string {
  return seconds < 60
    ? `about ${Math.max(1, Math.round(seconds))} s left`
    : `about ${Math.ceil(seconds / 60)} min left`;
}

/** "42 %, about 3 min left". */
export function progressText(done: number, total: number, secondsLeft?: number): string {
  const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
  return secondsLeft === undefined ? `${percent} %` : `${percent} %, ${leftText(secondsLeft)}`;
}

/** "slowest: machines 10 s, control-plane 14 s, ...": the five steps that took longest. */
export function slowestText(timings: readonly StepTiming[]): string {
  const slowest = [...timings].sort((a, b) => b.ms - a.ms).slice(0, 5);
  return `slowest steps: ${slowest.map(({ step, ms }) => `${step} ${durationText(ms)}`).join(', ')}`;
}
