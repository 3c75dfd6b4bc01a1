import { expect, it } from 'vitest';
import { failures } from '../../scripts/scenarios/catalogue/failures.ts';
import { factsOf, pod, seen } from './facts.ts';

const ECHO = { labels: { app: 'echo' } };
const echo = [pod('echo-1', { ...ECHO, ip: '10.255.0.3' }), pod('echo-2', { ...ECHO, ip: '10.255.0.67' })];
const BEFORE = 'held 10.255.0.3 12\nudp 10.255.0.67 1\nrequests 20 0 80\n';

/** What an expectation of a step says of a log of the pod watch; the steps before it saw BEFORE. */
function judge(step: string, log: string, index = 0) {
  const facts = {
    ...factsOf({ pods: echo }),
    after: () => seen(factsOf({ pods: echo }), { stdout: BEFORE }),
  };
  const found = failures.steps.find(({ id }) => id === step);
  return [found?.expect ?? []].flat()[index]?.judge(seen(facts, { stdout: log }));
}

it.each([
  ['held-lands-elsewhere', BEFORE, false, 'echo-1, 12 ms after the last answer'],
  [
    'held-lands-elsewhere',
    `${BEFORE}ended\nheld 10.255.0.67 103\n`,
    true,
    'echo-2, 103 ms after the last answer',
  ],
  ['udp-lands-elsewhere', `${BEFORE}udp 10.255.0.3 700\n`, true, 'echo-1, 700 ms after the last answer'],
])('%s, case %#', (step, log, right, sentence) => {
  expect(judge(step, log)).toEqual({ right, seen: sentence });
});

it('an answer from an address of no Ready pod is not there', () => {
  expect(() => judge('held-lands-elsewhere', `${BEFORE}held 10.255.0.9 103\n`)).toThrow(
    'no pod has the address',
  );
});

it.each([
  ['', false],
  ['requests 500 3 9999\n', true],
  ['requests 500 3 10000\n', false],
])('the longest time without an answer: %j', (log, right) => {
  expect(judge('what-it-cost', `held 10.255.0.3 12\nudp 10.255.0.67 1\n${log}`, 2)?.right).toBe(right);
});
