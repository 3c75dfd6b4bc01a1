import { type Address, sorted } from '../addresses.ts';
import type { Route } from '../state/types.ts';
import type { ChainStep } from '../types.ts';
import { endpointName } from './network-state.ts';
import type {
  BackendChoice,
  BackendChoices,
  BackendFailure,
  Decision,
  EndCause,
  LostAnswer,
  NetworkState,
  NextHop,
  OneSided,
  RuleMet,
  Trace,
  Translation,
} from './types.ts';

type Of<K extends Decision['kind']> = Extract<Decision, { kind: K }>;

/** A clause of a reason. `{at}` stands for the machine that it happens at, so that equal clauses of several can be merged. */
interface Reason {
  readonly text: string;
  readonly at: string;
}

/** Why a connection ends as it does, in clauses. */
export function reasonFor(network: NetworkState, trace: Trace): string {
  return sentence(reasonOf(network, trace));
}

/** The clause with its machine's name. */
function sentence({ text, at }: Reason): string {
  return text.replaceAll('{at}', at);
}

function reasonOf(network: NetworkState, trace: Trace): Reason {
  const { at, decision, next, outcomes } = trace;
  if (outcomes.unknown !== undefined) return { text: outcomes.unknown.reason, at: '' };
  const rest = () => together(network, next, 'each of them');
  switch (decision.kind) {
    case 'name':
      return after(
        decision.addresses.length > 1
          ? 'a headless name resolves to the addresses of all its ready pods, and the client takes one of them; '
          : `a pod's own name under a headless service resolves to that pod's address; `,
        together(network, next, 'its node'),
      );
    case 'question':
      return after(`${at} gets no answer from the cluster's DNS: `, rest());
    case 'route':
      return routeReason(network, trace, decision);
    case 'masquerade':
      return after(`${at} masquerades it with its own address, because it leaves the pod network; `, rest());
    case 'host-port':
      return after(
        `${at} leads the host port to pod ${decision.pod.name}${decision.instead === undefined ? '' : ', with its own address as the source'}; `,
        rest(),
      );
    case 'translate': {
      const { failure } = decision.choices;
      return { at, text: failure === undefined ? decision.translation.reason : failureText(failure) };
    }
    case 'answer':
      return answerReason(at, decision);
    case 'lost-answer':
      return { at, text: lostText(decision.cause) };
    case 'end':
      return { at, text: endText(decision.cause) };
    default:
      return rest();
  }
}

function after(before: string, { text, at }: Reason): Reason {
  return { text: `${before}${text}`, at };
}

/** `choice` is what stands for the machine where all choices end the same way. */
function together(network: NetworkState, traces: readonly Trace[], choice: string): Reason {
  const [only] = traces;
  if (only !== undefined && traces.length === 1) return reasonOf(network, only);
  const reasons = traces.map((trace) => reasonOf(network, trace));
  const [first = { text: '', at: '' }] = reasons;
  return reasons.every(({ text }) => text === first.text)
    ? { text: first.text, at: choice }
    : { text: [...new Set(reasons.map(sentence))].join('; '), at: '' };
}

function routeReason(network: NetworkState, { at, next, outcomes }: Trace, { hops }: Of<'route'>): Reason {
  const [hop, another] = hops;
  if (another === undefined) {
    const rest = together(network, next, '');
    // A gateway that only forwards is worth a clause; one that runs kube-proxy has a clause of its own.
    const isPassing =
      hop?.kind === 'machine' &&
      hop.gateway !== undefined &&
      network.machine(hop.machine)?.node === undefined;
    return isPassing ? after(`${at} sends it to ${hop.machine}; `, rest) : rest;
  }
  const names = hops.map(hopName);
  const spreads = `${at} spreads connections over ${listed(names)}`;
  const losing = next.filter((trace) => trace.outcomes.ends.length > 0);
  if (outcomes.servers.length === 0 || losing.length === 0)
    return after(`${spreads}, and `, together(network, next, 'each of them'));
  // What can go wrong is the finding; that the others answer is not.
  const lost = listed(names.filter((_, index) => losing.includes(next[index] as Trace)));
  return after(`${spreads}, of which ${lost} lose it: `, together(network, losing, 'each of them'));
}

function hopName(hop: NextHop): string {
  // On a link the destination itself is the next hop, which needs no name.
  if (hop.kind === 'machine') return hop.gateway === undefined ? '' : hop.machine;
  return hop.kind === 'nobody' ? hop.address : '';
}

function answerReason(at: string, { by }: Of<'answer'>): Reason {
  switch (by.kind) {
    case 'pod':
      return { text: 'the packet is routed to the pod, and nothing translates it', at: by.machine };
    case 'host-pod':
      return {
        text: `pod ${by.pod} listens in the network of {at}, its node, and nothing translates the packet`,
        at: by.machine,
      };
    case 'kernel':
      return { text: 'the packet is routed there, and every kernel answers a ping', at };
    case 'itself':
      return { text: 'the pod connects to itself', at };
  }
}

function failureText(failure: BackendFailure): string {
  switch (failure.kind) {
    case 'no-route':
      return `{at} picks ${endpointName(failure.endpoint)}, but no route leads there`;
    case 'answer-past-translator':
      return 'the answer of a pod on another node would go straight to the client, past {at}, which alone knows the connection';
    case 'one-sided':
      return oneSidedText(failure.oneSided);
    case 'policy':
      return failure.verdict.reason.replaceAll('{at}', failure.at);
  }
}

function lostText(cause: LostAnswer): string {
  return cause.kind === 'one-sided'
    ? oneSidedText(cause)
    : `{at} has no route back to ${cause.client} for the answer`;
}

const ONE_SIDED = {
  answer: { seen: 'the answer', passes: 'the first packet goes past it', lost: 'the answer' },
  request: {
    seen: 'the way to the pod',
    passes: 'the answer goes past it',
    lost: 'what follows the first packet',
  },
};

function oneSidedText({ machine, sees }: OneSided): string {
  const { seen, passes, lost } = ONE_SIDED[sees];
  return `${machine} sees ${seen} alone, because ${passes}, and drops ${lost} as invalid (KUBE-FORWARD)`;
}

function oneSidedStep({ machine, sees }: OneSided): ChainStep {
  const { passes, lost } = ONE_SIDED[sees];
  return {
    at: machine,
    layer: 'rule',
    text: `KUBE-FORWARD --ctstate INVALID; ${passes}, so ${lost} is INVALID: dropped`,
    chains: ['KUBE-FORWARD'],
  };
}

function endText(cause: EndCause): string {
  switch (cause.kind) {
    case 'no-name-server':
      return `only pods use the cluster's DNS, and {at} has no name server at all`;
    case 'no-such-name':
      return 'a headless name has one address per ready pod, and there is none';
    case 'no-route':
      return cause.isOwn
        ? '{at} has no route to this address and no default route'
        : '{at} has no route to it and says so (ICMP network unreachable)';
    case 'dead-route':
      return cause.isOwn
        ? refusedText(cause.route)
        : (cause.dropReason ?? `the packet ends in a ${cause.route.type} route of {at}`);
    case 'martian':
      return '{at} drops what comes in with its own address as the source';
    case 'loop':
      return 'the routes lead in a circle, back to {at}';
    case 'not-forwarding':
      return '{at} does not forward packets';
    case 'nobody-on-link':
      return `nobody on the link of {at} has the address ${cause.address}`;
    case 'filtered':
      return cause.verdict.reason;
    case 'nothing-listens':
      return `nothing on {at} listens on port ${cause.port}/${cause.protocol}`;
  }
}

/** Names of routing protocols under which BGP daemons install routes: BIRD, FRR's bgpd, zebra of old. */
const BGP_PROTOCOLS = ['bird', 'bgp', 'zebra'];

function refusedText(route: Route): string {
  return route.type === 'blackhole' && BGP_PROTOCOLS.includes(route.protocol)
    ? `{at} announces this address and therefore holds a blackhole route for it, which its own processes run into (EINVAL)`
    : `{at} has a route of type ${route.type} for it (${errorOf(route)})`;
}

/** What a process gets for a route that leads nowhere. */
function errorOf({ type }: Route): string {
  return type === 'unreachable' ? 'EHOSTUNREACH' : type === 'prohibit' ? 'EACCES' : 'EINVAL';
}

/** How many of several equal choices are written out. */
const SHOWN = 3;

/** The path of the first packet, step by step. */
export function stepsOf(network: NetworkState, trace: Trace): readonly ChainStep[] {
  const { at, decision, next } = trace;
  return decision.kind === 'lost-answer'
    ? [...stepsOfNext(network, next), ...ownSteps(network, at, decision)]
    : decision.kind === 'translate'
      ? ownSteps(network, at, decision)
      : [...ownSteps(network, at, decision), ...stepsOfNext(network, next)];
}

function stepsOfNext(network: NetworkState, next: readonly Trace[]): readonly ChainStep[] {
  const another = next[SHOWN];
  const [more] = another === undefined ? [] : stepsOf(network, another);
  return [
    ...next.slice(0, SHOWN).flatMap((trace) => stepsOf(network, trace)),
    ...(more === undefined ? [] : [{ ...more, text: `and ${next.length - SHOWN} more in the same way` }]),
  ];
}

function ownSteps(network: NetworkState, at: string, decision: Decision): readonly ChainStep[] {
  switch (decision.kind) {
    case 'name':
      return [{ at, layer: 'dns', text: `${decision.name} is ${listed(decision.addresses)}` }];
    case 'question':
      return [{ at, layer: 'dns', text: `asks ${decision.server}, the cluster's DNS` }];
    case 'pod-route':
      return [{ at, layer: 'route', text: `default route: to its node ${decision.node}` }];
    case 'own-address':
      return [{ at, layer: 'route', text: `${decision.address} is its own address` }];
    case 'route':
      return routeSteps(network, at, decision);
    case 'masquerade': {
      const { chain, instead } = decision;
      return [
        {
          at,
          layer: 'rule',
          text: `${chain}: leaves the pod network, so the source becomes ${instead}`,
          chains: [chain],
        },
      ];
    }
    case 'host-port': {
      const { pod, port, instead } = decision;
      const source = instead === undefined ? '' : `; the source becomes ${instead}`;
      const text = `CNI-HOSTPORT-DNAT: the host port leads to pod ${pod.name}, ${pod.ip}:${port}${source}`;
      return [{ at, layer: 'rule', text, chains: ['CNI-HOSTPORT-DNAT'] }];
    }
    case 'rule':
      return [ruleStep(at, decision)];
    case 'translate':
      return translateSteps(network, at, decision);
    case 'answer':
      return answerSteps(at, decision);
    case 'lost-answer':
      return [
        decision.cause.kind === 'one-sided'
          ? oneSidedStep(decision.cause)
          : { at, layer: 'route', text: `the answer to ${decision.cause.client} finds no way` },
      ];
    case 'end':
      return [endStep(at, decision.cause)];
    case 'unknown':
      return [];
  }
}

/** A route and its next hops in words; how one of several is chosen, and what it was learned from. */
function routeSteps(
  network: NetworkState,
  at: string,
  { route, destination, hashPolicy, rule }: Of<'route'>,
): readonly ChainStep[] {
  const hops = gatewayNames(network, route, destination);
  const isLink = route.hops.every(({ gateway }) => gateway === undefined);
  const devices = [...new Set(route.hops.map((hop) => hop.interface))].join(', ');
  const where = isLink
    ? `on the link ${devices}`
    : `by ${hops.length > 1 ? 'one of ' : ''}${listed(hops, 8)}`;
  const steps: ChainStep[] = [{ at, layer: 'route', text: `${route.prefix} ${where}` }];
  if (BGP_PROTOCOLS.includes(route.protocol) && !isLink)
    steps.push({ at, layer: 'bgp', text: `learned ${route.prefix} from ${listed(hops, 8)}` });
  if (hops.length > 1)
    steps.push({
      at,
      layer: 'route',
      text: `fib_multipath_hash_policy ${hashPolicy}: ${
        hashPolicy === 0
          ? 'by addresses, so all connections of one client take one next hop'
          : 'by addresses and ports, so each connection may take another next hop'
      }`,
    });
  if (rule !== undefined) steps.push(ruleStep(at, rule));
  return steps;
}

/** "k8sworker1 (192.168.13.35)", ...: the next hops by name. */
function gatewayNames(network: NetworkState, route: Route, destination: Address): readonly string[] {
  return sorted(route.hops.map(({ gateway }) => gateway ?? destination)).map((address) => {
    const name = network.ownerOf(address) ?? network.nodeOf(address);
    return name === undefined ? address : `${name} (${address})`;
  });
}

function ruleStep(at: string, { chains, text }: RuleMet): ChainStep {
  return { at, layer: 'rule', text: `${chains.join(' > ')}; ${text}`, chains };
}

function answerSteps(at: string, { by, server, client }: Of<'answer'>): readonly ChainStep[] {
  if (by.kind === 'kernel')
    return [{ at, layer: 'endpoint', text: `${server} answers pings, on ${by.machine}` }];
  if (by.kind === 'itself') return [{ at, layer: 'endpoint', text: `${server} is its own address` }];
  const where = by.kind === 'pod' ? `on ${by.machine}` : `in the network of ${by.machine}`;
  return [
    { at, layer: 'endpoint', text: `${server}:${by.port}, ${where}` },
    { at, layer: 'source', text: `the server sees ${client}` },
  ];
}

function endStep(at: string, cause: EndCause): ChainStep {
  switch (cause.kind) {
    case 'no-name-server':
      return { at, layer: 'dns', text: `${cause.name}: there is no name server to ask` };
    case 'no-such-name':
      return { at, layer: 'dns', text: `${cause.name}: NXDOMAIN` };
    case 'no-route':
      return {
        at,
        layer: 'route',
        text: `no route to ${cause.destination}: ${cause.isOwn ? 'ENETUNREACH' : 'ICMP network unreachable'}`,
      };
    case 'dead-route': {
      const { route, isOwn } = cause;
      const { prefix, type, protocol } = route;
      const error = isOwn ? `, ${errorOf(route)}` : '';
      return { at, layer: 'route', text: `${prefix}: ${type} (${protocol})${error}` };
    }
    case 'martian':
      return { at, layer: 'route', text: `${cause.source} is its own address: dropped as martian` };
    case 'loop':
      return { at, layer: 'route', text: `back again: ${cause.visited.join(' > ')}` };
    case 'not-forwarding':
      return { at, layer: 'route', text: 'net.ipv4.ip_forward is 0: dropped' };
    case 'nobody-on-link':
      return { at, layer: 'link', text: `no answer to ARP for ${cause.address}` };
    case 'filtered':
      return ruleStep(at, cause.verdict);
    case 'nothing-listens':
      return {
        at,
        layer: 'endpoint',
        text: `nothing listens on ${cause.destination}:${cause.port}/${cause.protocol}`,
      };
  }
}

function translateSteps(network: NetworkState, at: string, decision: Of<'translate'>): readonly ChainStep[] {
  const { translation, choices } = decision;
  const { chains, text } = translation;
  return [
    {
      at,
      layer: 'rule',
      text: [chains.join(' > '), text, choosing(decision)].filter((part) => part !== '').join('; '),
      chains: [...chains, ...choices.endpointChains],
    },
    ...choiceSteps(network, at, choices, translation),
    ...(choices.failure?.kind === 'one-sided' ? [oneSidedStep(choices.failure.oneSided)] : []),
    ...choices.stops.slice(0, SHOWN).map((stop) => ruleStep(stop.at, stop.verdict)),
  ];
}

function choosing({ translation: { endpoints, match } }: Of<'translate'>): string {
  const { service, port } = match;
  const names = listedOf(endpoints, (each) => `${endpointName(each)} ${each.ip}:${each.ports[port.name]}`);
  if (endpoints.length === 1) return `to ${names}`;
  return service.affinity === 'ClientIP'
    ? `to one of ${names}, the same each time for one client address (sessionAffinity ClientIP)`
    : `to one of ${names} at random, each as likely`;
}

function choiceSteps(
  network: NetworkState,
  at: string,
  { first, here, away, hows, sources }: BackendChoices,
  { endpoints }: Translation,
): readonly ChainStep[] {
  const how = howTexts(network.machine(at)?.kubeProxy?.rules.masquerading);
  const places = [
    ...(here.count === 0
      ? []
      : [`${listedOf(here.first, ({ endpoint }) => endpointName(endpoint), 4, here.count)} on this node`]),
    ...away.first.map(
      ({ endpoint, path }) => `${endpointName(endpoint)} by ${pathText(network, path, endpoint.ip)}`,
    ),
    ...(away.count > away.first.length ? [`and ${away.count - away.first.length} more on other nodes`] : []),
  ];
  const left = endpoints.length - first.length;
  return [
    { at, layer: 'route', text: places.join(', ') },
    ...first.map(
      ({ endpoint: { pod, ip, node } }): ChainStep => ({
        at: pod === undefined ? at : `pod/${pod}`,
        layer: 'endpoint',
        text: node === undefined ? ip : `${ip}, on ${node}`,
      }),
    ),
    ...(left > 0
      ? [{ at, layer: 'endpoint' as const, text: `and ${left} more endpoints in the same way` }]
      : []),
    {
      at,
      layer: 'source',
      text: `the server sees ${listed(sources)}: ${hows.map((each) => how[each]).join('; or ')}`,
    },
  ];
}

function pathText(network: NetworkState, { decision, outcomes }: Trace, address: Address): string {
  if (outcomes.ends.length > 0) return 'no route';
  return decision.kind === 'route' ? listed(gatewayNames(network, decision.route, address)) : '';
}

function howTexts({ marked, hairpin } = { marked: '', hairpin: '' }): Record<BackendChoice['how'], string> {
  return {
    kept: 'the source stays',
    masqueraded: `${marked} masquerades with the address of the interface towards the pod`,
    hairpin: `a pod that is led back to itself is masqueraded (${hairpin})`,
    'nat-outgoing': 'the pod network masquerades what leaves it',
  };
}

/** "a", "a and b", "a, b and c"; long lists are cut. */
export function listed(names: readonly string[], limit = 4): string {
  return listedOf(names, (name) => name, limit);
}

/** `count`: how many there are, where `items` are only the first of them. */
function listedOf<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  limit = 4,
  count = items.length,
): string {
  const shown =
    count > limit
      ? [...items.slice(0, limit - 1).map(nameOf), `${count - limit + 1} more`]
      : items.map(nameOf);
  const last = shown.at(-1) ?? '';
  return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} and ${last}`;
}
