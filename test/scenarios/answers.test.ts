import { describe, expect, it } from 'vitest';
import {
  answers,
  fails,
  outcomeOf,
  parseAnswers,
  share,
  type WantedAnswers,
} from '../../scripts/scenarios/answers.ts';
import { podIp, readyPods, value } from '../../scripts/scenarios/words.ts';
import { factsOf, pod, seen } from './facts.ts';

const NGINX = (name: string, client: string) =>
  `pod ${name}\nserver 10.255.0.3:80\nclient ${client}:40112\nhost web\npath /?1\nstatus 200\n`;
const ECHO = 'Sun Jun  4 18:37:24 UTC 2023\nServer: 10.255.0.66:1234\nClient: 10.255.0.9:37419\n\n';

describe('answers in what a command printed', () => {
  it('are told apart by their status', () => {
    expect(parseAnswers(NGINX('web-1', '10.255.0.9') + NGINX('web-1', '10.255.0.9'))).toEqual([
      ...Array.from({ length: 2 }, () => ({
        pod: 'web-1',
        server: '10.255.0.3',
        port: 80,
        client: '10.255.0.9',
        host: 'web',
        path: '/?1',
        status: 200,
      })),
    ]);
  });

  it('of the echo server are told apart by where the next one begins', () => {
    expect(parseAnswers(ECHO + ECHO)).toEqual(
      Array.from({ length: 2 }, () => ({ server: '10.255.0.66', port: 1234, client: '10.255.0.9' })),
    );
  });

  it('have a status at least, and none where curl got none', () => {
    expect(parseAnswers('<html>404</html>\nstatus 404\nstatus 000\n')).toEqual([{ status: 404 }]);
  });
});

it.each([
  ['curl: (7) Failed to connect to 10.96.0.9 port 80 after 0 ms: Connection refused', 7, 'refused'],
  ['curl: (28) Connection timed out after 3001 milliseconds', 28, 'timeout'],
  ['curl: (6) Could not resolve host: nowhere', 6, 'no-name'],
  ['nc: connect to 2.2.2.2 port 1234 (tcp) failed: Network is unreachable', 1, 'no-route'],
  ['nc: getaddrinfo for host "x" port 1: Name or service not known', 1, 'no-name'],
  ['curl: (52) Empty reply from server', 52, 'closed'],
  ['', 1, 'timeout'],
  ['command terminated with exit code 1', 1, 'timeout'],
  ['', 0, 'ok'],
  ['something else', 3, 'failed'],
])('%j with exit code %i is %s', (stderr, exitCode, outcome) => {
  expect(outcomeOf({ stderr, exitCode, stdout: '' })).toBe(outcome);
});

const facts = factsOf({
  pods: [
    pod('web-1', { labels: { app: 'web' }, ip: '10.255.0.3' }),
    pod('web-2', { labels: { app: 'web' }, ip: '10.255.0.67' }),
    pod('client', { ip: '10.255.0.9' }),
    pod('other', { ip: '10.255.0.66' }),
  ],
});

describe('answers that must come', () => {
  const wanted = answers({
    by: readyPods('app=web'),
    each: true,
    times: 2,
    client: podIp('client'),
    status: 200,
  });
  const judge = (stdout: string) => wanted.judge(seen(facts, { stdout }));

  it('are right from each pod, with the client that is wanted', () => {
    expect(judge(NGINX('web-1', '10.255.0.9') + NGINX('web-2', '10.255.0.9'))).toEqual({
      right: true,
      seen: 'web-1 (1), web-2 (1); they saw 10.255.0.9 (2)',
    });
  });

  it.each([
    ['too few', NGINX('web-1', '10.255.0.9'), '1 of 2 were not answered: exit code 0; web-2 did not answer'],
    [
      'another client',
      NGINX('web-1', '10.1.1.1') + NGINX('web-2', '10.255.0.9'),
      'the server saw 10.1.1.1, not 10.255.0.9',
    ],
    [
      'another pod',
      NGINX('web-1', '10.255.0.9') + NGINX('other', '10.255.0.9'),
      'other answered, which is none of the Ready pods with app=web; web-2 did not answer',
    ],
    ['nothing', '', 'no answer: exit code 0'],
  ])('are wrong with %s', (_, stdout, sentence) => {
    expect(judge(stdout)).toEqual({ right: false, seen: sentence });
  });

  it('that did not come are told in the words of the program where they fit no outcome', () => {
    const stderr = "curl: (7) Failed to connect to 10.0.0.1 port 80 after 0 ms: Couldn't connect to server\n";
    const { seen: told } = answers({}).judge(seen(facts, { exitCode: 7, stderr }));
    expect(told).toBe(`no answer: ${stderr.trim()}`);
  });

  it('of an echo server are known by its address', () => {
    const echo = answers({ by: readyPods('other') });
    expect(echo.judge(seen(facts, { stdout: ECHO }))).toMatchObject({
      right: true,
      seen: expect.stringContaining('other'),
    });
  });
});

describe('answers of servers by their addresses and ports', () => {
  const servers = value('both', () => ['10.255.0.3', '10.255.0.66']);
  const judge = (stdout: string, wanted: WantedAnswers) =>
    answers({ each: true, ...wanted }).judge(seen(facts, { stdout }));
  const from = (server: string) => `Server: ${server}\nClient: 10.255.0.9:1\n`;

  it('are right when each of them has answered, and no other', () => {
    const both = from('10.255.0.3:8001') + from('10.255.0.66:8002');
    expect(judge(both, { servers, ports: [8001, 8002], times: 2 })).toEqual({
      right: true,
      seen: 'other port 8002 (1), web-1 port 8001 (1); they saw 10.255.0.9 (2)',
    });
  });

  it.each([
    [{ servers }, from('10.255.0.3:80'), 'server 10.255.0.66 did not answer'],
    [{ servers }, from('10.9.9.9:80'), 'server 10.9.9.9 answered, and not 10.255.0.3 or 10.255.0.66'],
    [{ ports: [80, 81] }, from('10.255.0.3:80'), 'port 81 did not answer'],
    [{ ports: [81] }, from('10.255.0.3:80'), 'port 80 answered, and not 81'],
  ])('are wrong with %j', (wanted, stdout, sentence) => {
    expect(judge(stdout, wanted)).toMatchObject({ right: false, seen: expect.stringContaining(sentence) });
  });

  it('are counted by the pods that gave them', () => {
    const of = (count: number) =>
      from('10.255.0.3:80').repeat(count) + from('10.255.0.66:80').repeat(10 - count);
    const judged = (count: number) =>
      share('app=web', [40, 60], 10).judge(seen(facts, { stdout: of(count) }));
    expect(judged(5)).toEqual({ right: true, seen: '10 answers, 5 of them (50 %) from these' });
    expect([judged(3).right, judged(7).right]).toEqual([false, false]);
    expect(share('app=web', [40, 60], 11).judge(seen(facts, { stdout: of(5) })).right).toBe(false);
  });
});

it('a failure must be the one that is wanted', () => {
  const refused = { stderr: 'Connection refused', exitCode: 7 };
  expect(fails('refused').judge(seen(facts, refused))).toEqual({ right: true, seen: 'refused' });
  expect(fails('timeout', 'refused').judge(seen(facts, refused)).right).toBe(true);
  expect(fails('timeout').judge(seen(facts, refused))).toEqual({ right: false, seen: 'refused' });
  expect(fails('timeout').judge(seen(facts, { stdout: ECHO }))).toEqual({
    right: false,
    seen: 'an answer came',
  });
});
