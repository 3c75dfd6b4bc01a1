import type { Check } from '../bgp/checks/check.ts';
import type { LabPlan } from '../plan/types.ts';
import { nthAddress, parseCidr } from '../shared/ip.ts';
import type { EchoService, Endpoints } from './endpoints.ts';
import { serverPods } from './endpoints.ts';
import type { DnsAnswer, DnsQuestion } from './types.ts';

/** A question with the answer that the specification of Kubernetes DNS gives for the observed state. */
export interface DnsCheck {
  readonly question: DnsQuestion;
  readonly title: string;
  readonly outcome: 'ok' | 'dns-nxdomain';
  readonly answers: readonly string[];
  readonly why: string;
}

interface Draft extends Omit<DnsCheck, 'question' | 'outcome'> {
  readonly name: string;
  readonly type?: 'A' | 'PTR';
}

/**
 * What the client pod asks its own resolver, with the right answers (kubernetes/dns, docs/specification.md): headless
 * names, pods' names, ClusterIPs, the API server's service, reverse names, and a name that must not exist.
 */
export function dnsChecks(plan: LabPlan, endpoints: Endpoints): readonly DnsCheck[] {
  const from = `pod/${plan.echo.clientPod.pod}`;
  const domain = plan.kubernetes.domain;
  const namespace = `${plan.echo.namespace}.svc.${domain}`;
  const drafts = [
    ...endpoints.services.flatMap((service) =>
      service.clusterIp === undefined
        ? headlessChecks(endpoints, service, namespace)
        : clusterIpChecks(service.name, service.clusterIp, namespace),
    ),
    {
      name: `kubernetes.default.svc.${domain}`,
      title: 'the API server has a name',
      answers: [apiServiceAddress(plan)],
      why: 'The service kubernetes.default always has the first address of the service CIDR.',
    },
    {
      name: `no-such-service.${namespace}`,
      title: 'a missing service has no name',
      answers: [],
      why: 'A name that does not exist must be denied at once, not time out.',
    },
  ];
  return drafts.map(({ name, type = 'A', ...draft }: Draft) => ({
    ...draft,
    // A reverse question is identified by its answer: addresses vary from lab to lab, names do not.
    question: {
      id: `dns.${type.toLowerCase()}.${type === 'PTR' ? draft.answers[0] : name}`,
      from,
      name,
      type,
    },
    outcome: draft.answers.length === 0 ? 'dns-nxdomain' : 'ok',
  }));
}

function headlessChecks(endpoints: Endpoints, service: EchoService, namespace: string): Draft[] {
  const named = serverPods(endpoints).filter(
    ({ hostname, subdomain, ip }) =>
      hostname !== undefined && subdomain === service.name && service.backends.includes(ip),
  );
  return [
    {
      name: `${service.name}.${namespace}`,
      title: `headless name ${service.name}`,
      answers: service.backends,
      why: 'A headless name has one A record per ready pod, and none exists without a ready pod.',
    },
    ...named.flatMap(({ name: pod, hostname, ip }): Draft[] => {
      const name = `${hostname}.${service.name}.${namespace}`;
      return [
        {
          name,
          title: `name of pod ${pod}`,
          answers: [ip],
          why: `A ready pod with a hostname and the service's name as its subdomain has a name of its own.`,
        },
        {
          name: ip,
          type: 'PTR',
          title: `reverse name of pod ${pod}`,
          answers: [name],
          why: `The address of a pod behind a headless service resolves back to the pod's name.`,
        },
      ];
    }),
  ];
}

function clusterIpChecks(service: string, clusterIp: string, namespace: string): Draft[] {
  const name = `${service}.${namespace}`;
  return [
    {
      name,
      title: `service ${service}`,
      answers: [clusterIp],
      why: `A service's name resolves to its ClusterIP.`,
    },
    {
      name: clusterIp,
      type: 'PTR',
      title: `reverse name of service ${service}`,
      answers: [name],
      why: `A ClusterIP resolves back to its service's name.`,
    },
  ];
}

function apiServiceAddress(plan: LabPlan): string {
  const cidr = parseCidr(plan.kubernetes.serviceCidr);
  if (cidr === undefined) throw new Error(`not a service CIDR: ${plan.kubernetes.serviceCidr}`);
  return nthAddress(cidr, 1);
}

/** Compares answers with expectations. A question without an answer is a harness error. */
export function judgeDns(
  checks: readonly DnsCheck[],
  answers: ReadonlyMap<string, DnsAnswer>,
): readonly Check[] {
  return checks.map(({ question, title, outcome, answers: expected, why }) => {
    const answer = answers.get(question.id) ?? {
      outcome: 'harness-error' as const,
      answers: [],
      detail: 'it was never asked',
    };
    return {
      id: question.id,
      title,
      verdict: verdictOf(answer, outcome, expected),
      expected: describe(outcome, expected),
      observed: describe(answer.outcome, answer.answers, answer.detail),
      why,
    };
  });
}

function verdictOf(answer: DnsAnswer, outcome: string, expected: readonly string[]): Check['verdict'] {
  if (answer.outcome === 'harness-error') return 'harness';
  const same = [...answer.answers].sort().join() === [...expected].sort().join();
  return answer.outcome === outcome && same ? 'passed' : 'failed';
}

function describe(outcome: string, answers: readonly string[], detail: string | null = null): string {
  if (outcome === 'ok') return [...answers].sort().join(', ');
  return detail === null ? outcome : `${outcome}: ${detail}`;
}
