import { z } from 'zod';
import type { CalicoObject } from '../../bgp/calico/objects.ts';
import { messageOf } from '../../shared/errors.ts';
import { inAny } from '../addresses.ts';
import { listOf } from './kubernetes.ts';
import { NAMESPACE, parseSelector } from './selector.ts';
import {
  allOf,
  anyOf,
  type Known,
  type Labels,
  not,
  type Peer,
  type Policy,
  type PolicyFlow,
  type PolicyPod,
  type PolicyRule,
  type Tier,
} from './types.ts';

const text = z.string().nullish();
const texts = listOf(z.union([z.string(), z.number()]).transform(String));
const entity = z.looseObject({
  nets: texts,
  notNets: texts,
  selector: text,
  notSelector: text,
  namespaceSelector: text,
  ports: texts,
  notPorts: texts,
  serviceAccounts: z.looseObject({ names: texts, selector: text }).nullish(),
  services: z.unknown().optional(),
});
const protocol = z.union([z.string(), z.number()]).nullish();
const rules = listOf(
  z.looseObject({
    action: z.enum(['Allow', 'Deny', 'Pass', 'Log']),
    protocol,
    notProtocol: protocol,
    ipVersion: z.number().nullish(),
    icmp: z.unknown().optional(),
    notICMP: z.unknown().optional(),
    http: z.unknown().optional(),
    source: entity.nullish(),
    destination: entity.nullish(),
  }),
);
const policySpec = z.looseObject({
  tier: text,
  order: z.number().nullish(),
  selector: text,
  namespaceSelector: text,
  serviceAccountSelector: text,
  types: texts,
  ingress: rules,
  egress: rules,
  doNotTrack: z.boolean().nullish(),
  preDNAT: z.boolean().nullish(),
});
const tierSpec = z.looseObject({
  order: z.number().nullish(),
  defaultAction: z.enum(['Deny', 'Pass']).nullish(),
});
const setSpec = z.looseObject({ nets: texts });
const hostEndpointSpec = z.looseObject({ node: text, profiles: texts });

type Entity = z.output<typeof entity>;
type Rule = z.output<typeof rules>[number];

/** What rules can select by labels: a pod, or a set of addresses. */
interface Selectable {
  readonly namespace?: string;
  readonly labels: Labels;
  readonly holds: (peer: Peer) => boolean;
}

/** Names under which Calico shows policies of Kubernetes as if they were its own. */
const CONVERTED = /^k(np|anp|cnp|banp)\./;
const TIERS: readonly Tier[] = [{ name: 'default', order: 1_000_000, defaultAction: 'Deny' }];

/** The names of Calico's own policies. */
export function calicoPolicyNames(objects: readonly CalicoObject[]): readonly string[] {
  return policiesOf(objects).map(nameOf);
}

/** Calico's own policies, compiled. `namespaces`: their labels, by name. */
export function fromCalico(
  objects: readonly CalicoObject[],
  pods: readonly PolicyPod[],
  namespaces: Readonly<Record<string, Labels>>,
): readonly Policy[] {
  const sets = objects
    .filter(({ kind }) => kind === 'NetworkSet' || kind === 'GlobalNetworkSet')
    .map(({ namespace, labels, spec }): Selectable => {
      const { nets } = setSpec.parse(spec);
      return {
        ...(namespace === undefined ? {} : { namespace }),
        labels: withNamespace(labels, namespace, namespaces),
        holds: ({ address }) => inAny(nets, address),
      };
    });
  const podsAs = new Map(pods.map((pod) => [pod.ip, podLabels(pod, namespaces)]));
  const selectablesAt = (peer: Peer): readonly Selectable[] => {
    const labels = peer.pod === undefined ? undefined : podsAs.get(peer.pod.ip);
    const own = sets.filter(({ holds }) => holds(peer));
    return labels === undefined || peer.pod === undefined
      ? own
      : [{ namespace: peer.pod.namespace, labels, holds: () => true }, ...own];
  };
  return policiesOf(objects).map((object): Policy => {
    const read = policySpec.safeParse(object.spec);
    const name = nameOf(object);
    if (!read.success) return { ...UNREAD, name, selects: () => 'it is not what was expected' };
    const { tier, order, types, ingress, egress, ...spec } = read.data;
    const compiled = (list: readonly Rule[]) =>
      list.map((rule) => compile(rule, object, namespaces, selectablesAt));
    const isFor = (type: string, isDefault: boolean) => (types.length > 0 ? types.includes(type) : isDefault);
    return {
      name,
      tier: tier || 'default',
      order: order ?? Number.POSITIVE_INFINITY,
      // Those for host endpoints alone.
      selects:
        spec.doNotTrack || spec.preDNAT
          ? () => false
          : (pod) => selects(spec, object, pod, podsAs.get(pod.ip) ?? {}, namespaces),
      ...(isFor('Ingress', ingress.length > 0 || egress.length === 0) ? { ingress: compiled(ingress) } : {}),
      ...(isFor('Egress', egress.length > 0) ? { egress: compiled(egress) } : {}),
    };
  });
}

const UNREAD = { tier: 'default', order: Number.NEGATIVE_INFINITY, ingress: [], egress: [] };

/** The tiers, in the order in which they are asked. */
export function tiersOf(objects: readonly CalicoObject[]): readonly Tier[] {
  const found = objects
    .filter(({ kind }) => kind === 'Tier')
    .map(({ name, spec }): Tier => {
      const { order, defaultAction } = tierSpec.parse(spec);
      return { name, order: order ?? Number.POSITIVE_INFINITY, defaultAction: defaultAction ?? 'Deny' };
    });
  const missing = TIERS.filter(({ name }) => found.every((tier) => tier.name !== name));
  return [...found, ...missing].sort((a, b) =>
    a.order === b.order ? a.name.localeCompare(b.name) : a.order - b.order,
  );
}

/** The profile that lets everything pass which no policy selects: what Calico gives host endpoints that it makes itself. */
const ALLOW = 'projectcalico-default-allow';

/** The nodes about which nothing is known, because a host endpoint stands before them. */
export function hostEndpoints(objects: readonly CalicoObject[]): ReadonlyMap<string, string> {
  const hasGlobal = objects.some(({ kind }) => kind === 'GlobalNetworkPolicy');
  return new Map(
    objects
      .filter(({ kind }) => kind === 'HostEndpoint')
      .flatMap(({ name, spec }): [string, string][] => {
        const { node, profiles } = hostEndpointSpec.parse(spec);
        return node && (hasGlobal || !profiles.includes(ALLOW)) ? [[node, name]] : [];
      }),
  );
}

function policiesOf(objects: readonly CalicoObject[]): readonly CalicoObject[] {
  return objects.filter(
    ({ kind, name }) => kind === 'GlobalNetworkPolicy' || (kind === 'NetworkPolicy' && !CONVERTED.test(name)),
  );
}

function nameOf({ kind, namespace, name }: CalicoObject): string {
  return kind === 'GlobalNetworkPolicy' ? `${kind} ${name}` : `Calico's ${kind} ${namespace}/${name}`;
}

/** The labels of a pod, with those that Calico adds. */
function podLabels(
  { labels, namespace, serviceAccount }: PolicyPod,
  namespaces: Readonly<Record<string, Labels>>,
) {
  return {
    ...withNamespace(labels, namespace, namespaces),
    'projectcalico.org/orchestrator': 'k8s',
    'projectcalico.org/serviceaccount': serviceAccount,
  };
}

function withNamespace(
  labels: Labels,
  namespace: string | undefined,
  namespaces: Readonly<Record<string, Labels>>,
): Labels {
  if (namespace === undefined) return labels;
  const inherited = Object.entries({ 'projectcalico.org/name': namespace, ...namespaces[namespace] });
  return {
    ...labels,
    ...Object.fromEntries(inherited.map(([key, value]) => [`pcns.${key}`, value])),
    [NAMESPACE]: namespace,
  };
}

function namespaceLabels(namespace: string, namespaces: Readonly<Record<string, Labels>>): Labels {
  return { ...namespaces[namespace], [NAMESPACE]: namespace, 'projectcalico.org/name': namespace };
}

/** Asks a selector, which may not be understood. */
function ask(selector: string, labels: Labels): Known {
  try {
    return parseSelector(selector)(labels);
  } catch (error) {
    return messageOf(error);
  }
}

function selects(
  {
    selector,
    namespaceSelector,
    serviceAccountSelector,
  }: Pick<z.output<typeof policySpec>, 'selector' | 'namespaceSelector' | 'serviceAccountSelector'>,
  { namespace }: CalicoObject,
  pod: PolicyPod,
  labels: Labels,
  namespaces: Readonly<Record<string, Labels>>,
): Known {
  return allOf([
    namespace === undefined || pod.namespace === namespace,
    ask(selector ?? '', labels),
    !namespaceSelector || ask(namespaceSelector, namespaceLabels(pod.namespace, namespaces)),
    !serviceAccountSelector || 'serviceAccountSelector is not modelled',
  ]);
}

function compile(
  rule: Rule,
  { namespace }: CalicoObject,
  namespaces: Readonly<Record<string, Labels>>,
  selectablesAt: (peer: Peer) => readonly Selectable[],
): PolicyRule {
  const isEnd = (
    wanted: Entity | null | undefined,
    flow: PolicyFlow,
    which: 'source' | 'destination',
  ): Known =>
    !wanted ||
    allOf([
      wanted.nets.length === 0 || inAny(wanted.nets, flow[which].address),
      !inAny(wanted.notNets, flow[which].address),
      isSelectable(wanted, selectablesAt(flow[which]), namespace, namespaces),
      !wanted.notSelector ||
        not(anyOf(selectablesAt(flow[which]).map(({ labels }) => ask(wanted.notSelector ?? '', labels)))),
      wanted.ports.length === 0 || isPort(wanted.ports, flow, which),
      wanted.notPorts.length === 0 || not(isPort(wanted.notPorts, flow, which)),
      wanted.services == null || 'rules about services are not modelled',
      !('domains' in wanted) || 'rules about domains are not modelled',
    ]);
  return {
    action: rule.action,
    matches: (flow) =>
      allOf([
        rule.protocol == null || isProtocol(rule.protocol, flow.protocol),
        rule.notProtocol == null || !isProtocol(rule.notProtocol, flow.protocol),
        !rule.ipVersion || rule.ipVersion === (flow.source.address.includes(':') ? 6 : 4),
        isEnd(rule.source, flow, 'source'),
        isEnd(rule.destination, flow, 'destination'),
        (!rule.icmp && !rule.notICMP) || flow.protocol !== 'icmp' || 'types of ICMP are not modelled',
        !rule.http || 'rules about HTTP are not modelled',
      ]),
  };
}

const NUMBERS: Readonly<Record<string, string>> = { '1': 'icmp', '6': 'tcp', '17': 'udp' };

function isProtocol(wanted: string | number, used: string): boolean {
  return (NUMBERS[String(wanted)] ?? String(wanted).toLowerCase()) === used;
}

/** One port, "FROM:TO", or the name of a port of the pod that is connected to. */
function isPort(
  wanted: readonly string[],
  { destination, port, protocol: used }: PolicyFlow,
  which: string,
): Known {
  if (which === 'source') return 'rules about source ports are not modelled';
  return wanted.some((each) => {
    const [, from, to = from] = /^(\d+)(?::(\d+))?$/.exec(each) ?? [];
    if (from !== undefined) return port >= Number(from) && port <= Number(to);
    return destination.pod?.ports.some(
      (named) => named.name === each && named.port === port && named.protocol === used,
    );
  });
}

/** A rule of a policy in a namespace selects within that namespace, unless it selects namespaces. */
function isSelectable(
  { selector, namespaceSelector, serviceAccounts }: Entity,
  candidates: readonly Selectable[],
  own: string | undefined,
  namespaces: Readonly<Record<string, Labels>>,
): Known {
  if (!selector && !namespaceSelector && !serviceAccounts) return true;
  const isIn = (question: string, namespace: string | undefined): Known =>
    namespace === undefined
      ? /\bglobal\(/.test(question)
      : ask(question, namespaceLabels(namespace, namespaces));
  return anyOf(
    candidates.map(({ namespace, labels }) =>
      allOf([
        ask(selector ?? '', labels),
        namespaceSelector ? isIn(namespaceSelector, namespace) : own === undefined || namespace === own,
        !serviceAccounts?.selector || 'labels of service accounts are not modelled',
        !serviceAccounts?.names.length ||
          serviceAccounts.names.includes(labels['projectcalico.org/serviceaccount'] ?? ''),
      ]),
    ),
  );
}
