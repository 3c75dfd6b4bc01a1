import { type Address, inAny } from '../addresses.ts';
import type { Hop, Route } from '../state/types.ts';
import type { FlowSource, Outcome, Target } from '../types.ts';
import { answersStraight, chooseBackends } from './choose.ts';
import { endpointName } from './network-state.ts';
import { filter, translate } from './node-rules.ts';
import { findOneSided, onePath, passedBy } from './one-sided.ts';
import { policed, unanswered } from './policies.ts';
import { answered, arrived, decided, ended, lostAnswer, unknown } from './trace.ts';
import type {
  Decision,
  FilterVerdict,
  LaterDrop,
  Machine,
  NetworkState,
  NextHop,
  Packet,
  RuleMet,
  Trace,
  Translation,
  Unknown,
} from './types.ts';

/**
 * How a machine outside the cluster fails to resolve a cluster name. The lab's machines have no name server, and a stub
 * resolver without an answer cannot say that a name does not exist (seen with probe.py in a network namespace: empty
 * resolv.conf, one with a silent server and one with an unroutable server all give dns-error, none dns-nxdomain).
 */
const MACHINE_DNS_OUTCOME: Outcome = 'dns-error';

const NONE: readonly never[] = [];

/**
 * Follows the first packet of a connection through everything that is known of the network, and its answer back: name,
 * route at the source, next hops, the rules of each node, the route to the endpoint. Where the resolver, a kernel or a
 * node's rules choose, every choice is followed. Pure.
 */
export function walk(network: NetworkState, from: FlowSource, target: Target): Trace {
  if (target.kind !== 'name') return connect(network, from, target, target.address);
  const { address: name, pods = [] } = target;
  const at = from.name;
  if (from.kind !== 'pod' || podOf(network, at)?.usesClusterDns !== true)
    return ended(at, MACHINE_DNS_OUTCOME, { kind: 'no-name-server', name });
  const stopped = stoppedQuestion(network, from);
  if (stopped !== undefined) return stopped;
  if (pods.length === 0) return ended(at, 'dns-nxdomain', { kind: 'no-such-name', name });
  return decided(
    at,
    { kind: 'name', name, addresses: pods },
    pods.map((pod) => connect(network, from, target, pod)),
  );
}

/** The Service that the resolvers of pods ask. */
const DNS_SERVICE = 'kube-system/kube-dns';

/** A question to the cluster's DNS; undefined where no policy stops it, since what else keeps it from an answer is wrong. */
export function stoppedQuestion(network: NetworkState, from: FlowSource): Trace | undefined {
  const server = network.policies === undefined ? undefined : network.service(DNS_SERVICE)?.clusterIp;
  if (server === undefined) return undefined;
  const question = connect(network, from, { port: 53, protocol: 'udp' }, server);
  return unanswered(question, from.name, server, MACHINE_DNS_OUTCOME);
}

/**
 * Where routes alone lead from a machine: the path of an answer, or of a packet of a connection that all machines know.
 * Worked out once per machine and address.
 */
export function walkRoutes(network: NetworkState, machine: Machine, destination: Address): Trace {
  const { name } = machine;
  const { routed } = network.memory;
  let known = routed.get(name);
  if (known === undefined) {
    known = new Map();
    routed.set(name, known);
  }
  const before = known.get(destination);
  if (before !== undefined) return before;
  // What asks again before the answer is known has come around in a circle.
  known.set(destination, ended(name, 'host-unreachable', { kind: 'loop', visited: [name] }));
  const trace = firstOfRoutes(network, machine, destination);
  known.set(destination, trace);
  return trace;
}

/** The same without remembering it, for those who remember what they make of it. */
function firstOfRoutes(network: NetworkState, machine: Machine, destination: Address): Trace {
  const problem = notKnown(machine.name, machine);
  if (problem !== undefined) return unknown(machine.name, problem);
  return pass(network, machine, {
    isEstablished: true,
    source: '',
    destination,
    port: 0,
    protocol: 'tcp',
    visited: NONE,
    forwarders: NONE,
  });
}

function podOf({ state }: NetworkState, source: string) {
  return state.pods.find(({ name }) => `pod/${name}` === source);
}

function connect(
  network: NetworkState,
  from: FlowSource,
  { port, protocol }: Pick<Target, 'port' | 'protocol'>,
  destination: Address,
): Trace {
  const to = { destination, port, protocol };
  const at = from.name;
  if (from.kind !== 'pod') return originate(network, at, to);
  if (from.address === undefined)
    return unknown(at, notModelled(`${at} does not run, so it connects to nothing`));
  if (podOf(network, at)?.hostNetwork === true) return originate(network, from.node, to);
  // A pod that connects to itself does not leave its own network.
  if (destination === from.address) return answered(at, { kind: 'itself' }, destination, destination);
  const packet = { ...to, source: from.address, visited: NONE, forwarders: NONE };
  return decided(at, { kind: 'pod-route', node: from.node }, [arrive(network, from.node, packet)]);
}

/** A connection of a machine's own process: route, then OUTPUT. */
function originate(
  network: NetworkState,
  name: string,
  to: Pick<Packet, 'destination' | 'port' | 'protocol'>,
): Trace {
  const machine = network.machine(name);
  const problem = notKnown(name, machine);
  if (machine === undefined || problem !== undefined) return unknown(name, problem ?? notObserved(name));
  const unseen = network.policies?.problemAt(name);
  if (unseen !== undefined) return unknown(name, notModelled(unseen));
  const { destination } = to;
  const found = machine.lookup(destination);
  if (found.kind === 'none') return ended(name, 'no-route', { kind: 'no-route', destination, isOwn: true });
  if (found.kind === 'route' && found.route.hops.length === 0) {
    const { route } = found;
    return ended(name, refusal(route), { kind: 'dead-route', route, destination, isOwn: true });
  }
  const source = destination.startsWith('127.') ? '127.0.0.1' : machine.sourceFor(destination);
  if (source === undefined)
    return unknown(name, notModelled(`${name} has no address that it could send from`));
  const packet: Packet = { ...to, source, visited: [name], forwarders: NONE };
  /** It has a route, but rules or the machine itself take it. */
  const taken = (next: Trace) =>
    found.kind === 'local'
      ? decided(name, { kind: 'own-address', address: destination }, [next])
      : decided(name, routeDecision(machine, found.route, destination, []), [next]);
  const verdict = translate(network, machine, packet);
  if (verdict.kind === 'unknown') return unknown(name, notModelled(verdict.reason), verdict.matches);
  if (verdict.kind === 'translate') return taken(deliver(network, machine, packet, verdict, undefined));
  if (verdict.kind === 'dropped')
    return taken(filtered(machine, verdict.verdict, ownFailure(verdict.verdict, packet)));
  const rule = verdict.kind === 'left' ? verdict : undefined;
  const hostPort =
    found.kind === 'local'
      ? toHostPort(network, machine, packet, (route, inside) => send(network, machine, route, inside))
      : undefined;
  if (hostPort !== undefined) return taken(hostPort);
  const sent = marked(packet, rule?.drop);
  const met = (next: Trace) => (rule === undefined ? next : ruleMet(machine, rule, next));
  const stopped = filter(network, machine, sent, 'output');
  if (stopped !== undefined) return taken(met(filtered(machine, stopped, ownFailure(stopped, packet))));
  if (found.kind === 'local') return taken(met(enter(network, machine, sent)));
  return send(network, machine, found.route, sent, rule);
}

/** A packet that comes in from a pod of the node or from another machine: PREROUTING, route, INPUT or FORWARD. */
function arrive(network: NetworkState, name: string, packet: Packet): Trace {
  const machine = network.machine(name);
  const problem = notKnown(name, machine);
  if (machine === undefined || problem !== undefined) return unknown(name, problem ?? notObserved(name));
  if (packet.isEstablished)
    return machine.state.ipForward || machine.isOwn(packet.destination)
      ? walkRoutes(network, machine, packet.destination)
      : ended(name, 'timeout', { kind: 'not-forwarding' });
  const unseen = network.policies?.problemAt(name);
  if (unseen !== undefined) return unknown(name, notModelled(unseen));
  const { source, visited } = packet;
  if (visited.length > 0 && machine.isOwn(source)) return ended(name, 'timeout', { kind: 'martian', source });
  if (visited.includes(name))
    return ended(name, 'host-unreachable', { kind: 'loop', visited: [...visited, name] });
  const here = { ...packet, visited: [...visited, name] };
  const verdict = translate(network, machine, here);
  switch (verdict.kind) {
    case 'unknown':
      return unknown(name, notModelled(verdict.reason), verdict.matches);
    case 'translate':
      return deliver(network, machine, here, verdict, source);
    case 'dropped':
      return filtered(machine, verdict.verdict, 'timeout');
    case 'left':
      return ruleMet(machine, verdict, pass(network, machine, marked(here, verdict.drop)));
    case 'none':
      return pass(network, machine, here);
  }
}

function marked(packet: Packet, drop: LaterDrop | undefined): Packet {
  return drop === undefined ? packet : { ...packet, drop };
}

/**
 * A port of the node that the CNI plugin portmap leads to a pod on it (hostPort): CNI-HOSTPORT-DNAT, which PREROUTING and
 * OUTPUT jump to after KUBE-SERVICES. undefined where no pod has it. `onward`: what the node does with it then.
 */
function toHostPort(
  network: NetworkState,
  machine: Machine,
  packet: Packet,
  onward: (route: Route, packet: Packet) => Trace,
): Trace | undefined {
  const { name, state } = machine;
  const { source, destination, port, protocol } = packet;
  const found = network.hostPort(name, destination, port, protocol);
  if (found === undefined) return undefined;
  const { pod } = found;
  const to = machine.lookup(pod.ip);
  if (to.kind !== 'route')
    return ended(name, 'no-route', { kind: 'no-route', destination: pod.ip, isOwn: false });
  const { route } = to;
  const isMasqueraded = (state.hostPortMasquerades ?? []).some(
    (each) => each.protocol === protocol && each.port === port && inAny([each.source], source),
  );
  const [hop] = route.hops;
  const instead = isMasqueraded && hop !== undefined ? machine.masqueradeSource(hop, pod.ip) : undefined;
  const inside = { ...packet, destination: pod.ip, port: found.port, source: instead ?? source };
  return decided(
    name,
    { kind: 'host-port', pod, port: found.port, source, ...(instead === undefined ? {} : { instead }) },
    [withAnswer(network, name, packet, onward(route, inside))],
  );
}

/** The routing decision about a packet that came in, and what follows. */
function pass(network: NetworkState, machine: Machine, packet: Packet): Trace {
  const { name } = machine;
  const { destination, isEstablished = false } = packet;
  const found = machine.lookup(destination);
  if (found.kind === 'local')
    return isEstablished
      ? arrived(name, destination)
      : (toHostPort(network, machine, packet, (_, inside) => pass(network, machine, inside)) ??
          enter(network, machine, packet));
  if (!isEstablished && !machine.state.ipForward) return ended(name, 'timeout', { kind: 'not-forwarding' });
  if (found.kind === 'none') return ended(name, 'no-route', { kind: 'no-route', destination, isOwn: false });
  const { route } = found;
  const stopped = isEstablished ? undefined : filter(network, machine, packet, 'forward');
  if (route.hops.length === 0) {
    // A node that has no pod of its own for it says why it comes to such a route.
    const dropReason =
      packet.drop?.verdict.reason ?? (stopped?.action === 'drop' ? stopped.reason : undefined);
    const cause = { kind: 'dead-route' as const, route, destination, isOwn: false };
    return ended(name, routeFailure(route), dropReason === undefined ? cause : { ...cause, dropReason });
  }
  const met = isEstablished ? undefined : policed(network, machine, packet);
  if (met?.kind === 'unknown') return unknown(name, notModelled(met.reason));
  // Calico's rules come before kube-proxy's.
  if (met !== undefined)
    return decided(name, routeDecision(machine, route, destination, []), [
      filtered(machine, met.verdict, 'timeout'),
    ]);
  if (stopped !== undefined)
    return decided(name, routeDecision(machine, route, destination, []), [
      filtered(machine, stopped, stopped.action === 'reject' ? 'refused' : 'timeout'),
    ]);
  const sent = isEstablished ? packet : { ...packet, forwarders: [...packet.forwarders, name] };
  return send(network, machine, route, sent);
}

/** POSTROUTING and the wire: to each of the next hops. `rule`: what a machine's own packet has met before. */
function send(network: NetworkState, machine: Machine, route: Route, packet: Packet, rule?: RuleMet): Trace {
  const { name, state } = machine;
  const { destination, source, isEstablished } = packet;
  const problem = isEstablished ? undefined : state.natOutgoing?.problem;
  if (problem !== undefined && network.nodeOf(source) !== undefined)
    return unknown(name, notModelled(problem));
  const hops: NextHop[] = [];
  const next: Trace[] = [];
  for (const hop of route.hops) {
    const to = nextHopOf(network, machine, hop, destination);
    hops.push(to);
    if (!isEstablished) next.push(leave(network, machine, hop, to, packet));
    else if (to.kind !== 'pod') next.push(carry(network, machine, to, packet));
  }
  return decided(name, routeDecision(machine, route, destination, hops, rule), next);
}

function leave(network: NetworkState, machine: Machine, hop: Hop, to: NextHop, packet: Packet): Trace {
  const { destination, source } = packet;
  const instead = machine.leavesPodNetwork(source, destination)
    ? machine.masqueradeSource(hop, destination)
    : undefined;
  if (instead === undefined) return carry(network, machine, to, packet);
  const sent = carry(network, machine, to, { ...packet, source: instead, forwarders: [] });
  return decided(
    machine.name,
    { kind: 'masquerade', chain: machine.state.natOutgoing?.chain ?? '', source, instead },
    [to.kind === 'machine' ? withAnswer(network, machine.name, packet, sent) : sent],
  );
}

/** The packet at the end of one hop. */
function carry(network: NetworkState, machine: Machine, to: NextHop, packet: Packet): Trace {
  switch (to.kind) {
    case 'pod':
      return atPod(network, machine, packet);
    case 'nobody':
      // Nobody answers ARP; the three seconds until the kernel says so are longer than a probe waits.
      return ended(machine.name, 'timeout', { kind: 'nobody-on-link', address: to.address });
    case 'machine':
      return arrive(network, to.machine, packet);
  }
}

/** Where one hop of a machine's route leads. */
function nextHopOf(
  network: NetworkState,
  { name }: Machine,
  { gateway, isDown }: Hop,
  destination: Address,
): NextHop {
  if (isDown) return { kind: 'nobody', address: gateway ?? destination };
  if (gateway === undefined && network.nodeOf(destination) === name) return { kind: 'pod' };
  const address = gateway ?? destination;
  const machine = network.ownerOf(address);
  return machine === undefined ? { kind: 'nobody', address } : { kind: 'machine', machine, gateway };
}

/** The packet is for a pod of this node, at the pod's end of its link. */
function atPod(network: NetworkState, { name }: Machine, packet: Packet): Trace {
  const { destination, source, port, protocol } = packet;
  const [pod] = network.podsAt(destination);
  const at = pod === undefined ? destination : `pod/${pod.name}`;
  const trace = answered(
    at,
    protocol === 'icmp' ? { kind: 'kernel', machine: name } : { kind: 'pod', machine: name, port },
    destination,
    source,
  );
  const back = answerPath(network, name, source);
  return back === undefined
    ? lostAnswer(name, { kind: 'no-route-back', client: source }, trace)
    : withAnswer(network, name, packet, trace);
}

/** INPUT. */
function enter(network: NetworkState, machine: Machine, packet: Packet): Trace {
  const met = policed(network, machine, packet);
  if (met?.kind === 'unknown') return unknown(machine.name, notModelled(met.reason));
  if (met !== undefined) return filtered(machine, met.verdict, 'timeout');
  const stopped = filter(network, machine, packet, 'input');
  return stopped === undefined
    ? withAnswer(network, machine.name, packet, listener(network, machine, packet))
    : filtered(machine, stopped, stopped.action === 'reject' ? 'refused' : 'timeout');
}

/** A pod in the node's own network, or nobody; the kernel for a ping. */
function listener(network: NetworkState, { name }: Machine, packet: Packet): Trace {
  const { destination, port, protocol, source } = packet;
  if (protocol === 'icmp') return answered(name, { kind: 'kernel', machine: name }, destination, source);
  const pods = network.hostPodsOn(name);
  const pod = pods.find(({ ports }) =>
    ports.some((each) => each.port === port && each.protocol === protocol),
  );
  if (pod !== undefined)
    return answered(
      `pod/${pod.name}`,
      { kind: 'host-pod', machine: name, pod: pod.name, port },
      destination,
      source,
    );
  const silent = pods.find(({ ports }) => ports.length === 0);
  return silent === undefined
    ? ended(name, 'refused', { kind: 'nothing-listens', destination, port, protocol })
    : unknown(
        name,
        notModelled(`pod ${silent.name} in the network of ${name} does not say which ports it listens on`),
      );
}

/** A node's rules replace the destination by one of several endpoints. `client`: whoever sent it, unless the node did. */
function deliver(
  network: NetworkState,
  machine: Machine,
  packet: Packet,
  translation: Translation,
  client: Address | undefined,
): Trace {
  const { name, state } = machine;
  const { masquerade } = translation;
  const problem = state.natOutgoing?.problem;
  if (problem !== undefined && !masquerade && network.nodeOf(packet.source) !== undefined)
    return unknown(name, notModelled(problem));
  const choices = chooseBackends(network, machine, packet, translation, firstOfRoutes, walkRoutes);
  const { failure } = choices;
  const isLost =
    client === undefined && failure?.kind === 'no-route' && choices.outcomes.servers.length === 0;
  const outcomes =
    isLost && choices.outcomes.unknown === undefined
      ? {
          ...choices.outcomes,
          unknown: notModelled(
            `${name} has no route to ${endpointName(failure.endpoint)}, which its own rules choose`,
          ),
        }
      : choices.outcomes;
  const trace: Trace = {
    at: name,
    decision: { kind: 'translate', translation, choices, ...(client === undefined ? {} : { client }) },
    next: [],
    outcomes,
  };
  return client === undefined ? trace : withAnswer(network, name, packet, trace);
}

/** The path of an answer; undefined where it does not arrive. */
function answerPath(network: NetworkState, from: string, to: Address): Trace | undefined {
  const machine = network.machine(from);
  const trace = machine === undefined ? undefined : walkRoutes(network, machine, to);
  return trace === undefined || trace.outcomes.ends.length > 0 || trace.outcomes.unknown !== undefined
    ? undefined
    : trace;
}

/**
 * What becomes of an answered connection, if the answers go from `name` to the packet's source by the routes that are
 * there: the same, or a node in between drops it.
 */
function withAnswer(network: NetworkState, name: string, packet: Packet, trace: Trace): Trace {
  const { source, forwarders, protocol } = packet;
  if (protocol === 'udp' || trace.outcomes.servers.length === 0 || network.machine(name) === undefined)
    return trace;
  const sender = network.ownerOf(source) ?? network.nodeOf(source) ?? name;
  const ends = [name, sender];
  const isStraight = sender === name || answersStraight(network, name, source, sender);
  if (isStraight && forwarders.every((each) => ends.includes(each))) return trace;
  const back = answerPath(network, name, source);
  if (back === undefined) return trace;
  const found = findOneSided(network, onePath(forwarders), passedBy(back), ends, protocol);
  return found === undefined ? trace : lostAnswer(found.machine, { kind: 'one-sided', ...found }, trace);
}

function routeDecision(
  { state: { hashPolicy } }: Machine,
  route: Route,
  destination: Address,
  hops: readonly NextHop[],
  rule?: RuleMet,
): Decision {
  const decision = { kind: 'route' as const, route, destination, hops, hashPolicy };
  return rule === undefined ? decision : { ...decision, rule };
}

function ruleMet({ name }: Machine, rule: RuleMet, next: Trace): Trace {
  return decided(name, { ...rule, kind: 'rule' }, [next]);
}

function filtered({ name }: Machine, verdict: FilterVerdict, outcome: Outcome): Trace {
  return ended(name, outcome, { kind: 'filtered', verdict });
}

function notModelled(reason: string): Unknown {
  return { kind: 'not-modelled', reason };
}

/** A machine that nobody looked at. */
function notObserved(machine: string, problem = 'it is no machine of the lab'): Unknown {
  return { kind: 'not-observed', reason: `${machine} could not be looked at: ${problem}`, machine };
}

/** Why nothing can be said about what a machine does with packets. */
function notKnown(name: string, machine: Machine | undefined): Unknown | undefined {
  if (machine === undefined) return notObserved(name);
  if (machine.state.problem !== undefined) return notObserved(name, machine.state.problem);
  const [rule] = machine.state.policyRules;
  return rule === undefined
    ? undefined
    : notModelled(`policy routing is not modelled: ${name} has the rule "${rule}"`);
}

/** How a route that leads nowhere ends a connection that a machine forwards: by ICMP, or in silence. */
function routeFailure({ type }: Route): Outcome {
  return type === 'unreachable' || type === 'prohibit' ? 'host-unreachable' : 'timeout';
}

/** How it ends one of the machine's own: EHOSTUNREACH, EACCES (prohibit), EINVAL (blackhole). */
function refusal({ type }: Route): Outcome {
  return type === 'unreachable' ? 'host-unreachable' : type === 'prohibit' ? 'denied' : 'no-route';
}

/**
 * How a rule of OUTPUT shows to the sender: a dropped or rejected datagram or ping is EPERM at once, a rejected SYN is
 * ECONNREFUSED, a dropped one only times out.
 */
function ownFailure({ action }: FilterVerdict, { protocol }: Packet): Outcome {
  if (protocol !== 'tcp') return 'denied';
  return action === 'reject' ? 'refused' : 'timeout';
}
