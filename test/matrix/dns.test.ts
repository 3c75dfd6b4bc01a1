import { describe, expect, it } from 'vitest';
import { dnsChecks, judgeDns } from '../../scripts/matrix/dns.ts';
import type { DnsAnswer } from '../../scripts/matrix/types.ts';
import { endpointsOf, POD_IPS, planOf } from './fixtures.ts';

const plan = planOf();
const checks = dnsChecks(plan, endpointsOf());
const NAMESPACE = 'echo-server.svc.cluster.local';

function answersOf(change: Record<string, DnsAnswer> = {}): ReadonlyMap<string, DnsAnswer> {
  const right = checks.map(({ question, wanted: { outcome, answers } }): [string, DnsAnswer] => [
    question.id,
    { outcome, answers: [...answers].reverse(), detail: null },
  ]);
  return new Map([...right, ...Object.entries(change)]);
}

describe('dnsChecks', () => {
  const byId = new Map(checks.map((check) => [check.question.id, check]));

  it.each([
    [`dns.a.headless.${NAMESPACE}`, 'A', `headless.${NAMESPACE}`, [...POD_IPS]],
    [`dns.a.server2.headless.${NAMESPACE}`, 'A', `server2.headless.${NAMESPACE}`, [POD_IPS[1]]],
    [`dns.ptr.server2.headless.${NAMESPACE}`, 'PTR', POD_IPS[1], [`server2.headless.${NAMESPACE}`]],
    [`dns.a.echo-ci-tcp.${NAMESPACE}`, 'A', `echo-ci-tcp.${NAMESPACE}`, ['10.98.176.251']],
    [`dns.ptr.echo-lb-tcp.${NAMESPACE}`, 'PTR', '10.100.215.183', [`echo-lb-tcp.${NAMESPACE}`]],
    [
      'dns.a.kubernetes.default.svc.cluster.local',
      'A',
      'kubernetes.default.svc.cluster.local',
      ['10.96.0.1'],
    ],
  ])('%s', (id, type, name, answers) => {
    expect(byId.get(id)).toMatchObject({
      question: { from: 'pod/echo-client1', type, name },
      wanted: { outcome: 'ok', answers },
    });
  });

  it('wants a missing name denied', () => {
    expect(byId.get(`dns.a.no-such-service.${NAMESPACE}`)).toMatchObject({
      wanted: { outcome: 'dns-nxdomain', answers: [], rule: 'no-such-service' },
    });
  });

  it('wants the headless name denied when no pod is ready', () => {
    const none = dnsChecks(plan, endpointsOf({ ready: ['echo-client1'] }));
    expect(none.find(({ question }) => question.name === `headless.${NAMESPACE}`)?.wanted.outcome).toBe(
      'dns-nxdomain',
    );
    expect(none.filter(({ question }) => question.name.startsWith('server'))).toEqual([]);
  });

  it('has unique ids', () => {
    expect(byId.size).toBe(checks.length);
  });
});

describe('judgeDns', () => {
  const headless = `dns.a.headless.${NAMESPACE}`;
  const missing = `dns.a.no-such-service.${NAMESPACE}`;
  const verdict = (id: string, answer: DnsAnswer) =>
    judgeDns(checks, answersOf({ [id]: answer })).find((check) => check.id === id);

  it('passes right answers in any order', () => {
    expect(new Set(judgeDns(checks, answersOf()).map((check) => check.verdict))).toEqual(new Set(['passed']));
  });

  it.each([
    ['wrong-answer', { outcome: 'ok', answers: POD_IPS.slice(1), detail: null }],
    ['wrong-answer', { outcome: 'ok', answers: [...POD_IPS, '10.255.0.1'], detail: null }],
    ['no-such-name', { outcome: 'dns-nxdomain', answers: [], detail: null }],
    ['no-answer', { outcome: 'dns-error', answers: [], detail: '10.96.0.10 did not answer' }],
  ] as const)('fails because of %s: %j', (reason, answer) => {
    expect(verdict(headless, answer)).toMatchObject({ verdict: 'failed', reason });
  });

  it('tells "there is none" from "nobody could say"', () => {
    const silent = verdict(missing, { outcome: 'dns-error', answers: [], detail: 'timeout' });
    expect(silent).toMatchObject({
      verdict: 'failed',
      reason: 'no-answer',
    });
    const known = verdict(missing, { outcome: 'ok', answers: ['10.96.0.9'], detail: null });
    expect(known).toMatchObject({ verdict: 'failed', reason: 'unexpected-name' });
  });

  it('does not take a harness error for an answer', () => {
    const broken = { outcome: 'harness-error', answers: [], detail: 'no probe' } as const;
    expect(verdict(missing, broken)?.verdict).toBe('harness');
    expect(judgeDns(checks, new Map()).every((check) => check.verdict === 'harness')).toBe(true);
  });
});
