import { expect, it } from 'vitest';
import { killPoints, seededRandom } from './kill-points.ts';

it('random moments are the same for the same seed, and spread over both steps', () => {
  const points = killPoints(1, 100);
  expect(killPoints(1, 100)).toEqual(points);
  expect(killPoints(2, 100)).not.toEqual(points);
  for (const wanted of ['control-plane', 'join'])
    expect(points.filter(({ step }) => step === wanted).length).toBeGreaterThan(30);
  expect(points.filter(({ part }) => part < 0.5).length).toBeGreaterThan(30);
  expect(points.filter(({ part }) => part >= 0.5).length).toBeGreaterThan(30);
});

it('mulberry32 gives what its other implementations give', () => {
  const random = seededRandom(1);
  expect([random(), random(), random()].map((each) => Math.floor(each * 1e9))).toEqual([
    627073940, 2735721, 527447039,
  ]);
});
