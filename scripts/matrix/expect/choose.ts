import { type Address, sorted } from '../addresses.ts';
import type { Endpoint } from '../endpoints.ts';
import type { Outcome } from '../types.ts';
import { findOneSided, passedBy } from './one-sided.ts';
import { policed } from './policies.ts';
import type {
  BackendChoice,
  BackendChoices,
  BackendFailure,
  Machine,
  NetworkState,
  OneSided,
  Outcomes,
  Packet,
  PolicyStop,
  Some,
  Trace,
  Translation,
} from './types.ts';

/** How many endpoints have a step, and a chain, of their own. */
const SHOWN_ENDPOINTS = 4;

type Routes = (network: NetworkState, machine: Machine, destination: Address) => Trace;

/**
 * What each backend would see and do that a node's rules can choose for a packet. `routes` and `answerRoutes` follow the
 * routes to it and back; the second is asked for the same again and again.
 */
export function chooseBackends(
  network: NetworkState,
  machine: Machine,
  packet: Packet,
  translation: Translation,
  routes: Routes,
  answerRoutes: Routes,
): BackendChoices {
  const { masquerade, match, scope } = translation;
  const { choices } = network.memory;
  const make = () =>
    allChoices({ network, machine, packet, masquerade, match, routes, answerRoutes }, translation);
  // Whatever address it was reached by, a service port chooses among the same backends.
  const key = `${machine.name} ${match.id} ${scope} ${masquerade}`;
  // What is masqueraded looks the same wherever it comes from, but for what does not leave the node.
  const known = masquerade && network.policies === undefined ? choices.get(key, make) : undefined;
  return known === undefined || known.hows.includes('kept')
    ? choices.get(`${key} ${packet.source}`, make)
    : known;
}

function allChoices(choosing: Choosing, { endpoints, match, names }: Translation): BackendChoices {
  const all = () => endpoints.map((endpoint) => choose(choosing, endpoint));
  const choices = all();
  const failure = failureOf(choices, choosing.packet);
  const arriving = choices.filter(({ path }) => path.outcomes.ends.length === 0);
  const isHere = ({ path }: BackendChoice) => path.next.length === 0 && path.outcomes.ends.length === 0;
  return {
    all,
    outcomes: outcomesOf(choices, failure),
    ...(failure === undefined ? {} : { failure }),
    first: choices.slice(0, SHOWN_ENDPOINTS),
    here: someOf(choices.filter(isHere)),
    stops: stopsOf(choices),
    away: someOf(choices.filter((choice) => !isHere(choice))),
    hows: [...new Set(choices.map(({ how }) => how))],
    sources: sorted((arriving.length > 0 ? arriving : choices).map(({ source }) => source)),
    endpointChains: endpoints.slice(0, SHOWN_ENDPOINTS).flatMap(({ ip, ports }) => {
      const address = `${ip}:${ports[match.port.name]}`;
      return (
        choosing.network.memory.endpointChains.get(`${names.all} ${address}`, () =>
          names.endpoint(address),
        ) ?? []
      );
    }),
  };
}

function stopsOf(choices: readonly BackendChoice[]): readonly PolicyStop[] {
  const stops = choices.flatMap(({ stop }) => stop ?? []);
  return [...new Map(stops.map((stop) => [`${stop.at} ${stop.verdict.text}`, stop])).values()];
}

function someOf(choices: readonly BackendChoice[]): Some<BackendChoice> {
  return { count: choices.length, first: choices.slice(0, SHOWN_ENDPOINTS) };
}

interface Choosing extends Pick<Translation, 'masquerade' | 'match'> {
  readonly network: NetworkState;
  readonly machine: Machine;
  readonly packet: Packet;
  readonly routes: Routes;
  readonly answerRoutes: Routes;
}

function choose(choosing: Choosing, endpoint: Endpoint): BackendChoice {
  const { network, machine, packet, routes } = choosing;
  const path = routes(network, machine, endpoint.ip);
  const node = endpoint.node ?? network.nodeOf(endpoint.ip) ?? network.ownerOf(endpoint.ip) ?? machine.name;
  const { source, how } = seenSource(choosing, endpoint, path);
  const returns = answersPass(choosing, node, source);
  const choice = { endpoint, node, path, source, how, returns, ...stopOf(choosing, endpoint, node, source) };
  const oneSided =
    packet.protocol === 'tcp' && returns ? findBetween(choosing, path, node, source) : undefined;
  return oneSided === undefined ? choice : { ...choice, oneSided };
}

/** The policies of the node that translates, then those of the endpoint's, which sees the source that has become of it. */
function stopOf(
  { network, machine, packet, match }: Choosing,
  { ip, ports }: Endpoint,
  node: string,
  source: Address,
): Pick<BackendChoice, 'stop' | 'problem'> {
  if (network.policies === undefined) return {};
  const sent = { ...packet, destination: ip, port: ports[match.port.name] ?? 0 };
  const last = node === machine.name ? undefined : network.machine(node);
  const first = policed(network, machine, sent);
  const found = first ?? (last === undefined ? undefined : policed(network, last, { ...sent, source }));
  if (found === undefined) return {};
  if (found.kind === 'unknown') return { problem: found.reason };
  return { stop: { at: first === undefined ? node : machine.name, verdict: found.verdict } };
}

/** POSTROUTING. It is not passed by what the node keeps for itself (a pod in the node's network). */
function seenSource(
  { machine, packet: { source }, masquerade }: Choosing,
  { ip }: Endpoint,
  { decision }: Trace,
): Pick<BackendChoice, 'source' | 'how'> {
  const [hop] = decision.kind === 'route' ? decision.route.hops : [];
  const own = hop === undefined ? undefined : machine.masqueradeSource(hop, ip);
  if (own === undefined) return { source, how: 'kept' };
  if (masquerade) return { source: own, how: 'masqueraded' };
  if (ip === source) return { source: own, how: 'hairpin' };
  return machine.leavesPodNetwork(source, ip)
    ? { source: own, how: 'nat-outgoing' }
    : { source, how: 'kept' };
}

/**
 * True if answers from an endpoint on `node` to `source` pass the machine that translated the connection. Otherwise they
 * arrive with the endpoint's own address, and the client does not know what to do with them.
 */
function answersPass(choosing: Choosing, node: string, source: Address): boolean {
  const { network, machine: translator } = choosing;
  if (node === translator.name) return true;
  const state = network.machine(node)?.state;
  if (state === undefined || state.problem !== undefined || state.policyRules.length > 0) return false;
  if (answersStraight(network, node, source, translator.name)) return true;
  const back = answerPath(choosing, node, source);
  return back !== undefined && passedBy(back).some.has(translator.name);
}

/** True if the machine is the only next hop of answers from `node`, or has the address itself: nearly always so. */
export function answersStraight(
  network: NetworkState,
  node: string,
  source: Address,
  machine: string,
): boolean {
  const found = network.machine(node)?.lookup(source);
  const [hop, another] = found?.kind === 'route' ? found.route.hops : [];
  return hop !== undefined && another === undefined && network.ownerOf(hop.gateway ?? source) === machine;
}

/** The path of an answer; undefined where it does not arrive. */
function answerPath({ network, answerRoutes }: Choosing, node: string, source: Address): Trace | undefined {
  const machine = network.machine(node);
  const back = machine === undefined ? undefined : answerRoutes(network, machine, source);
  return back === undefined || back.outcomes.ends.length > 0 || back.outcomes.unknown !== undefined
    ? undefined
    : back;
}

/** A node between the one that translates and that of the endpoint which sees one direction only. */
function findBetween(choosing: Choosing, path: Trace, node: string, source: Address): OneSided | undefined {
  const { network, machine: translator } = choosing;
  if (node === translator.name) return undefined;
  const isDirect = path.next.every(({ next }) => next.length === 0);
  if (isDirect && answersStraight(network, node, source, translator.name)) return undefined;
  const back = answerPath(choosing, node, source);
  if (back === undefined) return undefined;
  return findOneSided(
    network,
    passedBy(path),
    passedBy(back, translator.name),
    [translator.name, node],
    'tcp',
  );
}

function outcomesOf(choices: readonly BackendChoice[], failure: BackendFailure | undefined): Outcomes {
  const unknown = choices.find(({ path }) => path.outcomes.unknown !== undefined)?.path.outcomes.unknown;
  if (unknown !== undefined) return { servers: [], clients: [], ends: [], unknown };
  const problem = choices.find((choice) => choice.problem !== undefined)?.problem;
  if (problem !== undefined)
    return { servers: [], clients: [], ends: [], unknown: { kind: 'not-modelled', reason: problem } };
  const good = choices.filter(
    ({ path: { outcomes }, returns, oneSided, stop }) =>
      outcomes.ends.length === 0 && returns && oneSided?.certain !== true && stop === undefined,
  );
  return {
    // Endpoints are in the order of their addresses.
    servers: [...new Set(good.map(({ endpoint: { ip } }) => ip))],
    clients: sorted(good.map(({ source }) => source)),
    ends: failure === undefined ? [] : [failure.outcome],
  };
}

/** How those choices end that get no answer; undefined where all do. */
function failureOf(choices: readonly BackendChoice[], { protocol }: Packet): BackendFailure | undefined {
  const lost = choices.find(({ path }) => path.outcomes.ends.length > 0);
  if (lost !== undefined) return { kind: 'no-route', endpoint: lost.endpoint, outcome: endOf(lost.path) };
  const stop = choices.find((choice) => choice.stop !== undefined)?.stop;
  if (stop !== undefined) return { kind: 'policy', ...stop, outcome: 'timeout' };
  // A datagram of another address arrives all the same; a SYN-ACK is answered by RST.
  if (choices.some(({ returns }) => !returns))
    return { kind: 'answer-past-translator', outcome: protocol === 'udp' ? 'corrupt' : 'timeout' };
  const oneSided = choices.find((choice) => choice.oneSided !== undefined)?.oneSided;
  return oneSided === undefined ? undefined : { kind: 'one-sided', oneSided, outcome: 'timeout' };
}

function endOf({ outcomes: { ends } }: Trace): Outcome {
  const [end] = ends;
  return end === 'no-route' || end === 'host-unreachable' ? end : 'timeout';
}
