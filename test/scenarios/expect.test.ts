import { expect, it } from 'vitest';
import {
  anotherReady,
  endpoints,
  endpointsAt,
  equals,
  nextHops,
  onlyStatus,
  pods,
  refused,
  says,
  succeeds,
} from '../../scripts/scenarios/expect.ts';
import { podIp, readyPods, value, word } from '../../scripts/scenarios/words.ts';
import { factsOf, pod, seen, service } from './facts.ts';

const WEB = { labels: { app: 'web' } };
const web = [
  pod('web-1', { ...WEB, ip: '10.255.0.3' }),
  pod('web-2', { ...WEB, ip: '10.255.0.67', node: 'k8sworker2' }),
];

it.each([
  ['as many as wanted', web, { ready: 2 }, true],
  ['one too many', web, { ready: 1 }, false],
  ['each on its own node', web, { ready: 2, spread: true }, true],
  ['both on one node', web.map((each) => ({ ...each, node: 'k8sworker1' })), { spread: true }, false],
  [
    'one that is being deleted does not count',
    [...web, pod('web-3', { ...WEB, ending: true })],
    { ready: 2 },
    true,
  ],
  [
    'phases',
    [...web, pod('web-3', { ...WEB, ready: false, phase: 'Pending' })],
    { phases: { Running: 2, Pending: 1 } },
    true,
  ],
  [
    'a reason',
    [pod('web-3', { ...WEB, ready: false, reason: '0/4 nodes are available: free ports' })],
    { reason: /free ports/ },
    true,
  ],
  [
    'another reason',
    [pod('web-3', { ...WEB, ready: false, reason: 'ContainerCreating' })],
    { reason: /free ports/ },
    false,
  ],
  ['names', web, { names: ['web-1', 'web-2'] }, true],
  ['restarts', web, { restarts: 1 }, false],
] as const)('pods: %s', (_, all, wanted, right) => {
  expect(pods('app=web', wanted).judge(seen(factsOf({ pods: all }), {})).right).toBe(right);
});

it.each([
  [['10.255.0.3', '10.255.0.67'], true, '10.255.0.3, 10.255.0.67'],
  [['10.255.0.3'], false, '10.255.0.67 (web-2) is missing'],
  [['10.255.0.3', '10.255.0.67', '10.9.9.9'], false, '10.9.9.9 (no pod of these) is one and must not be'],
])('endpoints %j: %s', (addresses, right, sentence) => {
  const facts = factsOf({ pods: web, services: [service('web', addresses)] });
  const { judge, wanted } = endpoints('web', readyPods('app=web'));
  expect(wanted).toBe('the endpoints of web are the Ready pods with app=web');
  expect(judge(seen(facts, {}))).toEqual({ right, seen: sentence });
});

it('endpoints may be no pods', () => {
  const facts = factsOf({ services: [service('outside', ['10.9.9.9', '10.9.9.8'])] });
  const judge = (...wanted: string[]) =>
    endpointsAt(
      'outside',
      value('two', () => wanted),
    ).judge(seen(facts, {}));
  expect(judge('10.9.9.8', '10.9.9.9')).toEqual({ right: true, seen: '10.9.9.8, 10.9.9.9' });
  expect(judge('10.9.9.9').right).toBe(false);
});

it.each([
  ['203.0.113.16 via 10.0.0.1 dev eth0 proto bgp metric 20\n', ['10.0.0.1'], true, '10.0.0.1'],
  [
    '203.0.113.16 proto bgp\n\tnexthop via 10.0.0.2 dev eth0 weight 1\n\tnexthop via 10.0.0.1 dev eth0 weight 1\n',
    ['10.0.0.1', '10.0.0.2', '10.0.0.1'],
    true,
    '10.0.0.1, 10.0.0.2',
  ],
  ['203.0.113.16 via 10.0.0.1 dev eth0\n', ['10.0.0.1', '10.0.0.2'], false, '10.0.0.1'],
  ['', [], true, 'no route'],
])('next hops in %j', (stdout, wanted, right, sentence) => {
  const { judge } = nextHops(value('these', () => wanted));
  expect(judge(seen(factsOf({}), { stdout }))).toEqual({ right, seen: sentence });
});

it('the API refuses for the reason that is wanted', () => {
  const stderr =
    'The Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 31234: provided port is already allocated';
  const judge = (wanted: Parameters<typeof refused>[0], exitCode = 1) =>
    refused(wanted).judge(seen(factsOf({}), { exitCode, stderr })).right;
  expect(judge({ reason: 'Invalid', field: 'spec.ports[0].nodePort', because: /already allocated/ })).toBe(
    true,
  );
  expect(judge({ reason: 'Invalid', field: 'spec.clusterIP' })).toBe(false);
  expect(judge({ reason: 'Forbidden' })).toBe(false);
  expect(judge({ reason: 'Invalid' }, 0)).toBe(false);
});

it('a log of statuses has no other one, and enough of them', () => {
  const log = (stdout: string) => onlyStatus(200, 2).judge(seen(factsOf({}), { stdout }));
  expect(log('status 200\nstatus 200\n')).toEqual({ right: true, seen: 'status 200 (2)' });
  expect(log('status 200\n').right).toBe(false);
  expect(log('status 200\nstatus 200\nstatus 000\n')).toEqual({
    right: false,
    seen: 'no answer (1), status 200 (2)',
  });
});

it('what a command says, and where it says nothing of the kind, its end', () => {
  const ttl = says('two hops', /ttl=(\d+)/, '62');
  const of = (stdout: string) => ttl.judge(seen(factsOf({}), { stdout }));
  expect(of('64 bytes: ttl=62 time=1 ms\n')).toEqual({ right: true, seen: 'ttl=62' });
  expect(of('64 bytes: ttl=63 time=1 ms\n')).toEqual({ right: false, seen: 'ttl=63: 63, not 62' });
  expect(of('PING\n\n1 sent, 0 received\n').seen).toBe('1 sent, 0 received');
  expect(of('').seen).toBe('nothing was printed');
});

it('a command that must end well', () => {
  expect(succeeds.judge(seen(factsOf({}), { exitCode: 3, stderr: 'a\nno such thing\n' }))).toEqual({
    right: false,
    seen: 'exit code 3: no such thing',
  });
});

it.each([
  [web, false, 'there is none'],
  [web.slice(1), false, 'there is none'],
  [[...web, pod('web-3', { ...WEB, ready: false })], false, 'there is none'],
  [[...web.slice(1), pod('web-3', WEB)], true, 'web-3'],
])('another pod is Ready than before, case %#', (now, right, sentence) => {
  const before = seen(factsOf({ pods: web }), {});
  const facts = { ...factsOf({ pods: now }), after: () => before };
  expect(anotherReady('app=web', 'before').judge(seen(facts, {}))).toEqual({ right, seen: sentence });
});

it.each([
  ['10.255.0.3', true],
  ['10.255.0.4', false],
])('a value is another one: %s', (other, right) => {
  const { wanted, judge } = equals(podIp('web-1'), word`${other}`);
  expect(wanted).toContain('the address of pod web-1 is');
  expect(judge(seen(factsOf({ pods: web }), {}))).toEqual({ right, seen: '10.255.0.3' });
});
