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
  readonly type?: DnsQuestion['type'];
}

/**
 * What the client pod asks its own resolver, with the right answers (kubernetes/dns, docs/specification.md): headless
 * names, pods' names, ClusterIPs, the API server's service, reverse names, and a name that must not exist; and where CoreDNS
 * answers, what only it has.
 */
export function dnsChecks(plan: LabPlan, endpoints: Endpoints): readonly DnsCheck[] {
  const from = `pod/${plan.echo.clientPod.pod}`;
  const domain = plan.kubernetes.domain;
  const namespace = `${plan.echo.namespace}.svc.${domain}`;
  const drafts = [
    ...endpoints.services.flatMap((service) =>
      service.clusterIp === undefined
        ? headlessChecks(plan, endpoints, service, namespace)
        : clusterIpChecks(service.name, service.clusterIp, namespace),
    ),
    ...(plan.kubernetes.dns === 'coredns' ? corednsChecks(plan, endpoints, namespace) : []),
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

function headlessChecks(
  plan: LabPlan,
  endpoints: Endpoints,
  service: EchoService,
  namespace: string,
): Draft[] {
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
          answers: plan.kubernetes.dns === 'coredns' ? reverseNames(endpoints, name, ip, namespace) : [name],
          why: `The address of a pod behind a headless service resolves back to the pod's name.`,
        },
      ];
    }),
  ];
}

/**
 * The names that CoreDNS gives an endpoint's address, `own` first: one for each service that it is behind
 * (plugin/kubernetes, reverse.go).
 */
function reverseNames(
  endpoints: Endpoints,
  own: string,
  address: string,
  namespace: string,
): readonly string[] {
  const behind = endpoints.services.filter(({ backends }) => backends.includes(address));
  const names = behind.map((service) => endpointName(endpoints, service, address, namespace));
  return [own, ...names.filter((name) => name !== own)];
}

/** The pod's hostname, where its subdomain is the service, else its address (endpointHostname). */
function endpointName(
  { pods }: Endpoints,
  { name }: EchoService,
  address: string,
  namespace: string,
): string {
  const pod = pods.find(({ ip, subdomain }) => ip === address && subdomain === name);
  return `${pod?.hostname ?? address.replaceAll('.', '-')}.${name}.${namespace}`;
}

/**
 * What CoreDNS answers beyond plain names (plugin/kubernetes, kubernetes.go): a name for each endpoint of any service,
 * ports by SRV, pods by their address, and the target of an ExternalName.
 */
function corednsChecks(plan: LabPlan, endpoints: Endpoints, namespace: string): Draft[] {
  const [podIp] = serverPods(endpoints).map(({ ip }) => ip);
  const podName = podIp === undefined ? '' : podIp.replaceAll('.', '-');
  return [
    ...endpoints.services.flatMap((service): Draft[] => {
      const [first] = service.endpoints.filter(({ ready }) => ready);
      return [
        ...(first === undefined || service.clusterIp === undefined
          ? []
          : [
              {
                name: endpointName(endpoints, service, first.ip, namespace),
                title: `name of an endpoint of ${service.name}`,
                answers: [first.ip],
                why: 'CoreDNS has a name for each ready endpoint of a service.',
              },
            ]),
        ...service.ports
          .filter(({ name }) => name !== '')
          .map(({ name, protocol, port }) => ({
            name: `_${name}._${protocol}.${service.name}.${namespace}`,
            type: 'SRV' as const,
            title: `SRV record of ${service.name}, port ${name}`,
            answers: srvAnswers(endpoints, service, { name, port }, namespace),
            why: "A named port has an SRV record with the ClusterIP's name, or one for each endpoint of a headless service.",
          })),
      ];
    }),
    ...(podIp === undefined || endpoints.podRecords !== true
      ? []
      : [
          {
            name: `${podName}.${plan.echo.namespace}.pod.${plan.kubernetes.domain}`,
            title: "name of a pod's address",
            answers: [podIp],
            why: 'The Corefile says "pods insecure" or "pods verified": a pod\'s address has a name.',
          },
        ]),
    ...(endpoints.externalNames ?? []).map(({ name, target }) => ({
      name: `${name}.${namespace}`,
      type: 'CNAME' as const,
      title: `ExternalName ${name}`,
      answers: [target.replace(/\.$/, '').toLowerCase()],
      why: 'A service of type ExternalName is another name for its target.',
    })),
  ];
}

/** "priority weight port target": the targets share a weight of 100 (plugin/backend_lookup.go). */
function srvAnswers(
  endpoints: Endpoints,
  service: EchoService,
  { name, port }: { readonly name: string; readonly port: number },
  namespace: string,
): readonly string[] {
  if (service.clusterIp !== undefined) return [`0 100 ${port} ${service.name}.${namespace}`];
  const targets = service.endpoints.filter(({ ready, ports }) => ready && ports[name] !== undefined);
  const weight = Math.max(1, Math.floor(100 / targets.length));
  return targets.map(
    ({ ip, ports }) => `0 ${weight} ${ports[name]} ${endpointName(endpoints, service, ip, namespace)}`,
  );
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

/**
 * Compares answers with expectations: an address has the names that are expected, and may have more. A question without an
 * answer is a harness error. */
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
      verdict: verdictOf(question, answer, outcome, expected),
      expected: describe(outcome, expected),
      observed: describe(answer.outcome, answer.answers, answer.detail),
      why,
    };
  });
}

function verdictOf(
  { type }: DnsQuestion,
  { outcome: seen, answers }: DnsAnswer,
  outcome: string,
  expected: readonly string[],
): Check['verdict'] {
  if (seen === 'harness-error') return 'harness';
  // An address may have more names than those of the services that were looked at.
  const isRight =
    type === 'PTR'
      ? expected.every((name) => answers.includes(name))
      : [...answers].sort().join() === [...expected].sort().join();
  return seen === outcome && isRight ? 'passed' : 'failed';
}

function describe(outcome: string, answers: readonly string[], detail: string | null = null): string {
  if (outcome === 'ok') return [...answers].sort().join(', ');
  return detail === null ? outcome : `${outcome}: ${detail}`;
}
