import { inAny, sorted } from '../addresses.ts';
import type { Endpoint } from '../endpoints.ts';
import type { ChainStep } from '../types.ts';
import { endpointChain } from './chain-names.ts';
import type { Machine } from './machine.ts';
import { bothWays, findOneSided, type OneSided, onTheWay } from './one-sided.ts';
import type { Packet, Reach } from './packet.ts';
import { answersPass, answersStraight, answerWay, follow, hopNames } from './reach.ts';
import type { Translation } from './rules.ts';
import { answered, ended, listed, unknown, type Ways } from './ways.ts';
import { endpointName, remembered, type World } from './world.ts';

/** One backend that could be chosen, with the source address that it would see. */
interface Choice {
  readonly endpoint: Endpoint;
  readonly reach: Reach;
  readonly source: string;
  readonly how: 'kept' | 'masqueraded' | 'hairpin' | 'nat-outgoing';
  /** The answer comes back through the translating node. */
  readonly returns: boolean;
  readonly oneSided?: OneSided;
}

/** What becomes of a connection whose destination a node's rules replace by one of several backends. */
export function deliver(
  world: World,
  machine: Machine,
  packet: Packet,
  translation: Translation,
  origin: 'own' | 'forwarded',
): Ways {
  const { endpoints, masquerade, chains } = translation;
  const problem = machine.state.natOutgoing?.problem;
  if (problem !== undefined && !masquerade && world.nodeOf(packet.source) !== undefined)
    return unknown({ kind: 'not-modelled', reason: problem });
  // Masqueraded connections look the same wherever they come from, but for a pod that is sent back to itself.
  const isBackend = masquerade && endpoints.some(({ ip }) => ip === packet.source);
  const source = masquerade && origin === 'forwarded' && !isBackend ? '' : packet.source;
  const key = `deliver ${machine.name} ${keyOf(endpoints)} ${source} ${origin} ${chains.join(' ')}`;
  const ways = remembered(world, key, () => toBackends(world, machine, packet, translation, origin));
  return origin === 'own' ? ways : bothWays(world, machine.name, packet, ways);
}

function toBackends(
  world: World,
  machine: Machine,
  packet: Packet,
  translation: Translation,
  origin: 'own' | 'forwarded',
): Ways {
  const { chains, text, endpoints, match } = translation;
  const { service, port } = match;
  const choices = summarize(world, machine, packet, translation, origin);
  const rule: ChainStep = {
    at: machine.name,
    layer: 'rule',
    text: [chains.join(' > '), text, choosing(world, translation)].filter((part) => part !== '').join('; '),
    chains: [
      ...chains,
      ...endpoints
        .slice(0, SHOWN)
        .map((each) => endpointChain(service, port, `${each.ip}:${each.ports[port.name]}`)),
    ],
  };
  const steps = [rule, ...choices.steps];
  const reason = { text: translation.reason, at: machine.name };
  if (choices.unknown !== undefined) return unknown(choices.unknown);
  if (choices.failure === undefined) return answered(choices.servers, choices.clients, reason, steps);
  const lost = ended(choices.failure.outcome, { text: choices.failure.reason, at: machine.name }, [
    ...steps,
    ...choices.failure.steps,
  ]);
  return choices.servers.length === 0
    ? lost
    : { ...lost, servers: choices.servers, clients: choices.clients };
}

interface Summary {
  readonly servers: readonly string[];
  readonly clients: readonly string[];
  readonly unknown?: Ways['unknown'];
  readonly failure?: {
    readonly outcome: 'timeout' | 'no-route' | 'host-unreachable';
    readonly reason: string;
    readonly steps: readonly ChainStep[];
  };
  readonly steps: readonly ChainStep[];
}

const ids = new WeakMap<readonly Endpoint[], number>();
let nextId = 0;

/** Endpoint lists are shared, so that their identity says whether two are the same. */
function keyOf(endpoints: readonly Endpoint[]): number {
  const before = ids.get(endpoints);
  if (before !== undefined) return before;
  nextId += 1;
  ids.set(endpoints, nextId);
  return nextId;
}

function summarize(
  world: World,
  machine: Machine,
  packet: Packet,
  translation: Translation,
  origin: 'own' | 'forwarded',
): Summary {
  const choices = translation.endpoints.map((endpoint) =>
    choose(world, machine, packet, translation.masquerade, endpoint),
  );
  const unseen = choices.find(({ reach: { unknown: what } }) => what !== undefined)?.reach.unknown;
  const lost = choices.find(({ reach: { ends } }) => ends.length > 0);
  const good = choices.filter(
    ({ reach: { ends }, returns, oneSided }) => ends.length === 0 && returns && oneSided?.certain !== true,
  );
  const failure = failureOf(choices);
  const odd =
    lost !== undefined && origin === 'own' && good.length === 0
      ? {
          kind: 'not-modelled' as const,
          reason: `${machine.name} has no route to ${endpointName(lost.endpoint)}, which its own rules choose`,
        }
      : undefined;
  const unknownReason = unseen ?? odd;
  return {
    // Endpoints are in the order of their addresses.
    servers: [...new Set(good.map(({ endpoint: { ip } }) => ip))],
    clients: sorted(good.map(({ source }) => source)),
    ...(unknownReason === undefined ? {} : { unknown: unknownReason }),
    ...(failure === undefined ? {} : { failure }),
    steps: describe(world, machine, choices),
  };
}

/** How those choices end that get no answer; undefined where all do. */
function failureOf(choices: readonly Choice[]): Summary['failure'] {
  const lost = choices.find(({ reach: { ends } }) => ends.length > 0);
  if (lost !== undefined)
    return {
      outcome: endOf(lost.reach),
      reason: `{at} picks ${endpointName(lost.endpoint)}, but no route leads there`,
      steps: [],
    };
  if (choices.some(({ returns }) => !returns))
    return {
      outcome: 'timeout',
      reason:
        'the answer of a pod on another node would go straight to the client, past {at}, which alone knows the connection',
      steps: [],
    };
  const oneSided = choices.find((choice) => choice.oneSided !== undefined)?.oneSided;
  return oneSided === undefined
    ? undefined
    : { outcome: 'timeout', reason: oneSided.reason, steps: [oneSided.step] };
}

function endOf({ ends }: Reach): 'timeout' | 'no-route' | 'host-unreachable' {
  const [end] = ends;
  return end === 'no-route' || end === 'host-unreachable' ? end : 'timeout';
}

function choose(
  world: World,
  machine: Machine,
  { source, protocol }: Packet,
  masquerade: boolean,
  endpoint: Endpoint,
): Choice {
  const way = follow(world, machine, endpoint.ip);
  const node = endpoint.node ?? world.nodeOf(endpoint.ip) ?? machine.name;
  const { source: seen, how } = seenSource(machine, source, masquerade, endpoint, way);
  const returns = answersPass(world, node, seen, machine.name);
  const oneSided =
    protocol === 'tcp' && returns ? findBetween(world, machine.name, way, node, seen) : undefined;
  return {
    endpoint,
    reach: way,
    source: seen,
    how,
    returns,
    ...(oneSided === undefined ? {} : { oneSided }),
  };
}

/** A node between the one that translates and that of the endpoint which sees one direction only. */
function findBetween(
  world: World,
  translator: string,
  there: Reach,
  node: string,
  source: string,
): OneSided | undefined {
  if (node === translator) return undefined;
  const isStraight = there.next.every(({ next }) => next.length === 0);
  if (isStraight && answersStraight(world, node, source, translator)) return undefined;
  const way = answerWay(world, node, source);
  if (way === undefined) return undefined;
  return findOneSided(world, onTheWay(there), onTheWay(way, translator), [translator, node]);
}

/** POSTROUTING. It is not passed by what the node keeps for itself (a pod in the node's network). */
function seenSource(
  machine: Machine,
  source: string,
  masquerade: boolean,
  endpoint: Endpoint,
  { route }: Reach,
): { readonly source: string; readonly how: Choice['how'] } {
  const [hop] = route?.hops ?? [];
  const own = hop === undefined ? undefined : machine.masqueradeSource(hop, endpoint.ip);
  if (own === undefined) return { source, how: 'kept' };
  if (masquerade) return { source: own, how: 'masqueraded' };
  if (endpoint.ip === source) return { source: own, how: 'hairpin' };
  return leavesPodNetwork(machine, source, endpoint.ip)
    ? { source: own, how: 'nat-outgoing' }
    : { source, how: 'kept' };
}

/** True if the pod network's own rule masquerades it. */
export function leavesPodNetwork(
  { state: { natOutgoing } }: Machine,
  source: string,
  destination: string,
): boolean {
  return (
    natOutgoing !== undefined && inAny(natOutgoing.sources, source) && !inAny(natOutgoing.except, destination)
  );
}

function choosing(world: World, { endpoints, match: { service, port } }: Translation): string {
  return remembered(world, `choosing ${service.name} ${port.name} ${keyOf(endpoints)}`, () => {
    const names = listed(
      endpoints.map((each) => `${endpointName(each)} ${each.ip}:${each.ports[port.name]}`),
    );
    if (endpoints.length === 1) return `to ${names}`;
    return service.affinity === 'ClientIP'
      ? `to one of ${names}, the same each time for one client address (sessionAffinity ClientIP)`
      : `to one of ${names} at random, each as likely`;
  });
}

function describe(world: World, machine: Machine, choices: readonly Choice[]): readonly ChainStep[] {
  const here = choices.filter(({ reach: { next, ends } }) => next.length === 0 && ends.length === 0);
  const away = choices.filter(({ reach: { next, ends } }) => next.length > 0 || ends.length > 0);
  const places = [
    ...(here.length === 0
      ? []
      : [`${listed(here.map(({ endpoint }) => endpointName(endpoint)))} on this node`]),
    ...away.slice(0, SHOWN).map(({ endpoint, reach: { route, ends } }) => {
      const hops = route === undefined ? [] : hopNames(world, route, endpoint.ip);
      return `${endpointName(endpoint)} by ${ends.length > 0 ? 'no route' : listed(hops)}`;
    }),
    ...(away.length > SHOWN ? [`and ${away.length - SHOWN} more on other nodes`] : []),
  ];
  const sources = sorted(choices.map(({ source }) => source));
  return [
    { at: machine.name, layer: 'route', text: places.join(', ') },
    ...endpointSteps(machine, choices),
    { at: machine.name, layer: 'source', text: `the server sees ${listed(sources)}: ${howText(choices)}` },
  ];
}

/** How many endpoints have a step, and a chain, of their own. */
const SHOWN = 4;

function endpointSteps(machine: Machine, choices: readonly Choice[]): readonly ChainStep[] {
  const left = choices.length - SHOWN;
  return [
    ...choices.slice(0, SHOWN).map(
      ({ endpoint: { pod, ip, node } }): ChainStep => ({
        at: pod === undefined ? machine.name : `pod/${pod}`,
        layer: 'endpoint',
        text: node === undefined ? ip : `${ip}, on ${node}`,
      }),
    ),
    ...(left > 0
      ? [{ at: machine.name, layer: 'endpoint' as const, text: `and ${left} more endpoints in the same way` }]
      : []),
  ];
}

const HOW: Readonly<Record<Choice['how'], string>> = {
  kept: 'the source stays',
  masqueraded: 'KUBE-POSTROUTING masquerades with the address of the interface towards the pod',
  hairpin: 'a pod that is led back to itself is masqueraded (KUBE-SEP -s ITSELF)',
  'nat-outgoing': 'the pod network masquerades what leaves it',
};

function howText(choices: readonly Choice[]): string {
  return [...new Set(choices.map(({ how }) => HOW[how]))].join('; or ');
}
