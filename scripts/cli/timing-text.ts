import type { StepTiming } from '../commands/steps.ts';
import { durationText } from './clock-text.ts';

/** "slowest: machines 10 s, control-plane 14 s, ...": the five steps that took longest. */
export function slowestText(timings: readonly StepTiming[]): string {
  const slowest = [...timings].sort((a, b) => b.ms - a.ms).slice(0, 5);
  return `slowest steps: ${slowest.map(({ step, ms }) => `${step} ${durationText(ms)}`).join(', ')}`;
}
