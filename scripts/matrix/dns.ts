import { type Check, type CheckOf, checkId, makeCheck, type Subject } from '../bgp/checks/check.ts';
import { nodesOf } from '../bgp/checks/expected.ts';
import type { LabPlan } from '../plan/types.ts';
import { nthAddress, parseCidr } from '../shared/ip.ts';
import { flowSources } from './cells.ts';
import { bareName, type EchoPod, type EchoService, type Endpoints, serverPods, tested } from './endpoints.ts';
import { reasonFor } from './expect/describe.ts';
import { networkOf } from './expect/network-state.ts';
import { stoppedQuestion } from './expect/walk.ts';
import type { ObservedState } from './state/types.ts';
import type { DnsAnswer, DnsQuestion } from './types.ts';

/** A question with the answer that the specification of Kubernetes DNS gives for the observed state. */
export interface DnsCheck {
  readonly question: DnsQuestion;
  readonly subject: Subject<'dns'>;
  readonly wanted: Wanted;
}

type Wanted = CheckOf<'dns'>['wanted'];

interface Draft extends Omit<Wanted, 'outcome' | 'policy'> {
  readonly name: string;
  readonly type?: DnsQuestion['type'];
}

/**
 * What the client pod asks its own resolver, with the right answers (kubernetes/dns, docs/specification.md): headless
 * names, pods' names, ClusterIPs, the API server's service, reverse names, and a name that must not exist; and what CoreDNS
 * and the lab's own server have beyond it. `policed`: what policies make of all these questions.
 */
export function dnsChecks(
  plan: LabPlan,
  endpoints: Endpoints,
  policed?: Pick<Wanted, 'outcome' | 'policy'>,
): readonly DnsCheck[] {
  const from = `pod/${plan.echo.clientPod.pod}`;
  const domain = plan.kubernetes.domain;
  const drafts: readonly Draft[] = [
    ...tested(plan, endpoints).services.flatMap((service) =>
      service.clusterIp === undefined
        ? headlessChecks(plan, endpoints, service)
        : clusterIpChecks(service.name, service.clusterIp, nameOf(plan, service)),
    ),
    ...furtherChecks(plan, endpoints),
    { name: `kubernetes.default.svc.${domain}`, rule: 'api-server', answers: [apiServiceAddress(plan)] },
    { name: `no-such-service.${plan.echo.namespace}.svc.${domain}`, rule: 'no-such-service', answers: [] },
    ...(plan.kubernetes.dns === 'lab' ? nodeChecks(plan) : []),
  ];
  return drafts.map(({ name, type = 'A', ...draft }) => {
    const [first] = draft.answers;
    // A reverse question is identified by its answer: addresses vary from lab to lab, names do not.
    const host = type === 'PTR' && first !== undefined ? { host: first } : {};
    const subject = { from, type, name, ...host };
    return {
      question: { id: checkId('dns', subject), from, name, type },
      subject,
      wanted: {
        ...draft,
        ...(policed ?? { outcome: draft.answers.length === 0 ? 'dns-nxdomain' : 'ok' }),
      },
    };
  });
}

/** What policies make of the client pod's questions; undefined where they let them through. */
export function policedDns(
  plan: LabPlan,
  state: ObservedState,
): Pick<Wanted, 'outcome' | 'policy'> | undefined {
  const network = networkOf(state);
  const [pod] = flowSources(plan, state).filter(({ kind }) => kind === 'pod');
  const stopped = pod === undefined ? undefined : stoppedQuestion(network, pod);
  if (stopped === undefined) return undefined;
  const isKnown = stopped.outcomes.unknown === undefined;
  return { outcome: isKnown ? 'dns-error' : 'harness-error', policy: `${reasonFor(network, stopped)}.` };
}

/** A service's or external name's full name. */
function nameOf(
  { kubernetes }: LabPlan,
  { namespace, name }: Pick<EchoService, 'namespace' | 'name'>,
): string {
  return `${bareName(name)}.${namespace}.svc.${kubernetes.domain}`;
}

function headlessChecks(plan: LabPlan, endpoints: Endpoints, service: EchoService): Draft[] {
  const own = nameOf(plan, service);
  const named = serverPods(endpoints).filter(
    (pod) => pod.hostname !== undefined && isNamedBy(pod, service) && service.backends.includes(pod.ip),
  );
  return [
    { name: own, rule: 'headless', of: service.name, answers: service.backends },
    ...named.flatMap(({ name: pod, hostname, ip }): Draft[] => {
      const name = `${hostname}.${own}`;
      const names = plan.kubernetes.dns === 'coredns' ? reverseNames(plan, endpoints, name, ip) : [name];
      return [
        { name, rule: 'pod', of: pod, answers: [ip] },
        { name: ip, type: 'PTR', rule: 'pod-reverse', of: pod, answers: names },
      ];
    }),
  ];
}

/**
 * The names that CoreDNS gives an endpoint's address, `own` first: one for each service that it is behind
 * (plugin/kubernetes, reverse.go).
 */
function reverseNames(plan: LabPlan, endpoints: Endpoints, own: string, address: string): readonly string[] {
  const behind = endpoints.services.filter(({ backends }) => backends.includes(address));
  const names = behind.map((service) => endpointName(plan, endpoints, service, address));
  return [own, ...names.filter((name) => name !== own)];
}

/** The pod's hostname, where its subdomain is the service, else its address (endpointHostname). */
function endpointName(plan: LabPlan, { pods }: Endpoints, service: EchoService, address: string): string {
  const pod = pods.find((each) => each.ip === address && isNamedBy(each, service));
  return `${pod?.hostname ?? address.replaceAll('.', '-')}.${nameOf(plan, service)}`;
}

/** True if the service is the pod's subdomain. */
function isNamedBy({ subdomain, namespace }: EchoPod, service: EchoService): boolean {
  return subdomain === bareName(service.name) && namespace === service.namespace;
}

/**
 * Beyond plain names (CoreDNS: plugin/kubernetes, kubernetes.go): a name for each endpoint of any service, ports by SRV,
 * pods by their address, and the target of an ExternalName.
 */
function furtherChecks(plan: LabPlan, endpoints: Endpoints): Draft[] {
  const own = tested(plan, endpoints);
  const [pod] = serverPods(own);
  return [
    ...own.services.flatMap((service): Draft[] => {
      const { name: of, ports, clusterIp } = service;
      const fullName = nameOf(plan, service);
      const first = service.endpoints.find(({ ready }) => ready);
      const srv = { type: 'SRV', rule: 'srv', of } as const;
      const drafts: Draft[] = [];
      if (first !== undefined && clusterIp !== undefined)
        drafts.push({
          name: endpointName(plan, endpoints, service, first.ip),
          rule: 'endpoint',
          of,
          answers: [first.ip],
        });
      for (const port of ports.filter(({ name }) => name !== '')) {
        const answers = srvAnswers(plan, endpoints, service, [port]);
        drafts.push({
          name: `_${port.name}._${port.protocol}.${fullName}`,
          ...srv,
          port: port.name,
          answers,
        });
      }
      if (clusterIp === undefined && ports.length > 0)
        drafts.push({ name: fullName, ...srv, answers: srvAnswers(plan, endpoints, service, ports) });
      return drafts;
    }),
    ...(pod === undefined || endpoints.podRecords !== true
      ? []
      : [
          {
            name: `${pod.ip.replaceAll('.', '-')}.${pod.namespace}.pod.${plan.kubernetes.domain}`,
            rule: 'pod-address' as const,
            answers: [pod.ip],
          },
        ]),
    ...(own.externalNames ?? []).map(
      ({ target, ...external }): Draft => ({
        name: nameOf(plan, external),
        type: 'CNAME',
        rule: 'external-name',
        of: external.name,
        answers: [target.replace(/\.$/, '').toLowerCase()],
      }),
    ),
  ];
}

/** "priority weight port target": all targets share a weight of 100 (plugin/backend_lookup.go). */
function srvAnswers(
  plan: LabPlan,
  endpoints: Endpoints,
  service: EchoService,
  ports: EchoService['ports'],
): readonly string[] {
  const ready = service.endpoints.filter((endpoint) => endpoint.ready);
  const targets =
    service.clusterIp !== undefined
      ? ports.map(({ port }) => `${port} ${nameOf(plan, service)}`)
      : ports.flatMap(({ name }) =>
          ready
            .filter((endpoint) => endpoint.ports[name] !== undefined)
            .map(({ ip, ports: own }) => `${own[name]} ${endpointName(plan, endpoints, service, ip)}`),
        );
  const weight = Math.max(1, Math.floor(100 / targets.length));
  return [...new Set(targets)].map((target) => `0 ${weight} ${target}`);
}

function nodeChecks(plan: LabPlan): Draft[] {
  return nodesOf(plan).map(({ name, address }) => ({ name, rule: 'node', of: name, answers: [address] }));
}

function clusterIpChecks(of: string, clusterIp: string, name: string): Draft[] {
  return [
    { name, rule: 'service', of, answers: [clusterIp] },
    { name: clusterIp, type: 'PTR', rule: 'service-reverse', of, answers: [name] },
  ];
}

function apiServiceAddress(plan: LabPlan): string {
  const cidr = parseCidr(plan.kubernetes.serviceCidr);
  if (cidr === undefined) throw new Error(`not a service CIDR: ${plan.kubernetes.serviceCidr}`);
  return nthAddress(cidr, 1);
}

/**
 * Compares answers with expectations. An address has its own name; those that further services give it are not judged,
 * because CoreDNS keeps reverse answers for 30 s (`cache 30`, with exceptions for cluster.local alone). A question without
 * an answer is a harness error.
 */
export function judgeDns(
  checks: readonly DnsCheck[],
  answers: ReadonlyMap<string, DnsAnswer>,
): readonly Check[] {
  return checks.map(({ question, subject, wanted }) => {
    const seen = answers.get(question.id) ?? {
      outcome: 'harness-error' as const,
      answers: [],
      detail: 'it was never asked',
    };
    if (wanted.outcome === 'harness-error')
      return makeCheck('dns', subject, { verdict: 'skipped', reason: 'policy-not-known', wanted });
    const reason = reasonOf(question, seen, wanted);
    return makeCheck('dns', subject, { reason, wanted, seen });
  });
}

function reasonOf(
  { type }: DnsQuestion,
  { outcome, answers }: DnsAnswer,
  wanted: Wanted,
): CheckOf<'dns'>['reason'] {
  if (outcome === 'harness-error') return 'not-read';
  if (outcome === 'dns-error') return wanted.outcome === outcome ? 'as-wanted' : 'no-answer';
  if (outcome !== wanted.outcome) return outcome === 'ok' ? 'unexpected-name' : 'no-such-name';
  const isRight =
    type === 'PTR'
      ? wanted.answers.slice(0, 1).every((name) => answers.includes(name))
      : [...answers].sort().join() === [...wanted.answers].sort().join();
  return isRight ? 'as-wanted' : 'wrong-answer';
}
