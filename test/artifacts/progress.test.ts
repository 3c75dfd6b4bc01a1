import { describe, expect, it } from 'vitest';
import { BuildProgress } from '../../scripts/artifacts/ensure.ts';
import type { LabEvent } from '../../scripts/shared/events.ts';

const weights = [
  { id: 'big', title: 'the big one', seconds: 90, lines: 100 },
  { id: 'small', title: 'the small one', seconds: 10, lines: 10 },
];

function clocked() {
  const clock = { now: 0 };
  const events: LabEvent[] = [];
  const progress = new BuildProgress(
    weights,
    (event) => events.push(event),
    () => clock.now,
  );
  return { clock, events, progress };
}

describe('build progress', () => {
  it('begins with the measured durations', () => {
    expect(clocked().progress.estimate()).toEqual({ done: 0, total: 100, secondsLeft: 100 });
  });

  it('follows the speed of this host', () => {
    const { clock, progress } = clocked();
    for (let line = 0; line < 50; line += 1) progress.line('big');
    clock.now = 90_000;
    // 45 of 100 measured seconds took 90: twice as slow.
    expect(progress.estimate()).toEqual({ done: 45, total: 100, secondsLeft: 110 });
  });

  it('never counts a running build as done, however many lines it writes', () => {
    const { progress } = clocked();
    for (let line = 0; line < 500; line += 1) progress.line('small');
    expect(progress.estimate().secondsLeft).toBeGreaterThan(90);
    progress.finish('small');
    expect(progress.estimate().done).toBe(10);
  });

  it('names what runs and reports at most once a second', () => {
    const { clock, events, progress } = clocked();
    progress.start('big');
    progress.start('small');
    expect(events.at(-1)).toEqual({ type: 'note', text: 'building the big one; the small one' });
    const before = events.length;
    for (let line = 0; line < 20; line += 1) {
      clock.now += 100;
      progress.line('big');
    }
    expect(events.length - before).toBe(2);
  });
});
