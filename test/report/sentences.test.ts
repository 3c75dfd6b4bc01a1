import { describe, expect, it } from 'vitest';
import { type Check, makeCheck, unseenCheck } from '../../scripts/bgp/checks/check.ts';
import type { Finding } from '../../scripts/matrix/findings.ts';
import { describeFinding } from '../../scripts/report/cell-text.ts';
import { describeCheck } from '../../scripts/report/check-text.ts';

const failed = { verdict: 'failed' } as const;

function spread(
  reason: 'missed-node' | 'wrong-node' | 'several-nodes' | 'unanswered',
  policy: number,
  nodes: readonly string[],
) {
  const counts = nodes.map((node) => ({ node, pod: `pod-of-${node}`, count: 4 }));
  return makeCheck(
    'spread',
    { from: 'routed', target: 'lb/2.2.2.2:1/tcp' },
    {
      ...failed,
      reason,
      wanted: { chooser: 'bgp', policy, nodes: ['w1', 'w2'], servers: [] },
      seen: { flows: 8, counts, lost: 3, firstLost: 'timeout: no answer' },
    },
  );
}

const CHAIN = 'KUBE-XLB-AAAAAAAAAAAAAAAA';
const KERNEL = { machine: 'w1', table: 'kernel', prefix: '2.2.2.2/32' };

const AGREED = { holdSeconds: 9, capabilities: ['AS4'], asPaths: ['65001'] };

describe('the sentences of a check', () => {
  it.each<[string, Check, Partial<ReturnType<typeof describeCheck>>]>([
    [
      'a session with another AS',
      makeCheck(
        'session',
        { a: 'bgp', b: 'w1', protocol: 'ebgp' },
        {
          ...failed,
          reason: 'wrong-as',
          wanted: { state: 'Established', ends: [] },
          seen: {
            ends: [
              { machine: 'bgp', state: 'Established', asn: 65009, wantedAsn: 65001 },
              { machine: 'w1', state: null },
            ],
          },
        },
      ),
      {
        title: 'eBGP session bgp - w1',
        observed: 'bgp: Established with AS 65009 instead of 65001; w1: no session configured',
      },
    ],
    [
      'a session without its password',
      makeCheck(
        'session',
        { a: 'bgp', b: 'w1', protocol: 'ebgp' },
        {
          ...failed,
          reason: 'password',
          wanted: {
            state: 'Established',
            ends: [
              { machine: 'bgp', ...AGREED, password: true },
              { machine: 'w1', ...AGREED },
            ],
          },
          seen: {
            ends: [
              { machine: 'bgp', state: 'Established', drops: 2, agreed: { ...AGREED, password: false } },
              { machine: 'w1', state: 'Established', agreed: AGREED },
            ],
          },
        },
      ),
      {
        expected: 'Established at both ends; with a TCP MD5 password',
        observed:
          'bgp: Established, ended 2 times since its daemon started, without a TCP MD5 password; w1: Established',
      },
    ],
    [
      'a default route that a router offers',
      makeCheck(
        'unplanned-routes',
        { machine: 'bgp' },
        {
          ...failed,
          reason: 'unwanted',
          wanted: { prefixes: [] },
          seen: {
            held: [{ prefix: '10.0.0.9/32', tables: ['bgp', 'kernel'], nextHops: ['10.0.0.1'] }],
            offered: [
              { prefix: '0.0.0.0/0', to: 'w1', refusedBy: 'in' },
              { prefix: '0.0.0.0/0', to: 'w2', refusedBy: null },
              { prefix: '0.0.0.0/0', to: 'w3', refusedBy: '(unnamed)' },
            ],
          },
        },
      ),
      {
        observed:
          'bgp BGP table and kernel: unplanned 10.0.0.9/32 via 10.0.0.1; bgp offers unplanned 0.0.0.0/0 to w1 (refused by its filter in), w2, w3 (refused by its filter)',
      },
    ],
    [
      'a route of which the kernel takes a part',
      makeCheck('route', KERNEL, {
        ...failed,
        reason: 'missing',
        wanted: { nextHops: ['10.0.0.1', '10.0.0.2'], take: 1, rule: 'learned-over-ibgp' },
        seen: { nextHops: [] },
        blockedBy: 'bgp.session.a-b',
      }),
      {
        title: 'w1 kernel: 2.2.2.2/32',
        expected: '1 of 10.0.0.1, 10.0.0.2',
        observed: 'absent (follows from bgp.session.a-b)',
        why: 'w1 does not announce it and learns it over iBGP from those that do. Its BIRD gives the kernel 1 next hops at most, and chooses them itself.',
      },
    ],
    [
      'a table that could not be read',
      unseenCheck(
        'route',
        { ...KERNEL, table: 'bird' },
        { nextHops: ['blackhole'], take: 1, rule: 'announced-here' },
        { fault: 'lab', detail: 'BIRD did not answer: nothing' },
      ),
      { title: 'w1 BIRD table: 2.2.2.2/32', observed: 'BIRD did not answer: nothing' },
    ],
    [
      'rules of which one chain is wrong',
      makeCheck(
        'service-rules',
        { machine: 'w1', service: 'web' },
        {
          ...failed,
          reason: 'wrong-backends',
          wanted: {
            chains: [
              { chain: 'KUBE-SVC-B', backends: ['10.1.0.1:80'] },
              { chain: CHAIN, backends: [] },
            ],
          },
          seen: {
            chains: [
              { chain: 'KUBE-SVC-B', backends: ['10.1.0.1:80'] },
              { chain: CHAIN, backends: ['10.1.0.1:80'] },
            ],
          },
        },
      ),
      { expected: `${CHAIN} to nobody`, observed: `${CHAIN} to 10.1.0.1:80` },
    ],
    [
      'a flow to a pod that is gone',
      makeCheck(
        'udp-flows',
        { machine: 'w1' },
        {
          ...failed,
          reason: 'stale',
          wanted: { stale: 0 },
          seen: {
            flows: 1,
            stale: [{ client: 'c', clientPort: 1, destination: 'd', port: 2, backend: 'b', service: 'web' }],
            unread: [],
          },
        },
      ),
      { observed: 'c:1 to d:2 goes to b, which is no endpoint of web' },
    ],
    [
      'no masquerading',
      makeCheck(
        'masquerading',
        { machine: 'w1' },
        {
          ...failed,
          reason: 'missing',
          wanted: { sources: ['10.1.0.0/16'], except: ['10.1.0.0/16'] },
          seen: { rule: null },
        },
      ),
      {
        expected: 'what comes from 10.1.0.0/16 is masqueraded, unless it is for 10.1.0.0/16',
        observed: 'nothing is masqueraded',
      },
    ],
    [
      'a name that nobody answers for',
      makeCheck(
        'dns',
        { from: 'pod/c', type: 'A', name: 'web.x' },
        {
          ...failed,
          reason: 'no-answer',
          wanted: { outcome: 'dns-nxdomain', answers: [], rule: 'no-such-service' },
          seen: { outcome: 'dns-error', answers: [], detail: 'TIMEOUT' },
        },
      ),
      {
        title: 'a missing service has no name',
        expected: 'dns-nxdomain',
        observed: 'dns-error: TIMEOUT',
      },
    ],
    [
      'a next hop that got nothing',
      spread('missed-node', 1, ['w1']),
      {
        title: 'routed to lb/2.2.2.2:1/tcp: 8 connections',
        expected: 'all of w1, w2',
        observed: 'w1 4',
        why: 'w2 got none of 8 connections, though bgp has 2 next hops and spreads by addresses and ports.',
      },
    ],
    [
      'a node that is no next hop',
      spread('wrong-node', 1, ['w1', 'w3']),
      { why: 'w3 answered, but bgp has only w1, w2 as next hops.' },
    ],
    [
      'a client that is spread though it must not be',
      spread('several-nodes', 0, ['w1', 'w2']),
      {
        expected: 'all on one of w1, w2',
        why: "fib_multipath_hash_policy of bgp is 0, so one client's connections must all take one next hop, but they took w1, w2.",
      },
    ],
    [
      'connections without an answer',
      spread('unanswered', 1, []),
      {
        observed: 'no answer',
        why: '3 of 8 connections from routed got no answer (timeout: no answer).',
      },
    ],
  ])('about %s', (_, check, text) => {
    expect(describeCheck(check)).toMatchObject(text);
  });
});

describe('the sentence about a cell', () => {
  const counted = { node: 'w1', chain: 'KUBE-FIREWALL', comment: 'drops', packets: 3, cells: 2 };
  it.each<[Finding, string]>([
    [{ reason: 'blocked', by: 'state.w1' }, 'not tried: state.w1 failed'],
    [{ reason: 'chance', what: 'chance decides' }, 'chance decides, so one try would prove nothing'],
    [{ reason: 'wrong-backend', server: 'a', wanted: ['b', 'c'] }, 'answered by a, not by b or c'],
    [{ reason: 'got-through', server: 'a', client: 'b' }, 'it got through to a as b'],
    [{ reason: 'second-try', outcome: 'timeout', said: 'slow' }, 'first try: timeout, slow'],
    [
      { reason: 'unproven', gap: { reason: 'counted-too-few', ...counted, least: 4 } },
      'it failed as expected, but the rule that had to stop it (KUBE-FIREWALL on w1, "drops") matched 3 of at least 4 packets from 2 cells',
    ],
  ])('%j', (finding, text) => {
    expect(describeFinding({ finding })).toBe(text);
  });
});
