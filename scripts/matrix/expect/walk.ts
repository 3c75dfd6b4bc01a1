import type { Hop, Route } from '../state/types.ts';
import type { ChainStep, Outcome, Protocol } from '../types.ts';
import { deliver, leavesPodNetwork } from './deliver.ts';
import { type FilterVerdict, filter } from './filter-rules.ts';
import type { Machine } from './machine.ts';
import { bothWays } from './one-sided.ts';
import type { Packet } from './packet.ts';
import { answersArrive, notObserved, unobserved } from './reach.ts';
import { BGP_PROTOCOLS, deadEnd, ownAddressStep, routeSteps } from './route-steps.ts';
import { translate } from './rules.ts';
import { after, answered, ended, listed, merged, unknown, type Ways } from './ways.ts';
import type { World } from './world.ts';

export interface Destination {
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
}

/** A connection of a machine's own process: route, then OUTPUT. */
export function originate(world: World, name: string, to: Destination): Ways {
  const machine = world.machine(name);
  const unseen = machine === undefined ? notObserved(name) : unobserved(machine);
  if (machine === undefined || unseen !== undefined) return unknown(unseen ?? notObserved(name));
  const found = machine.lookup(to.address);
  if (found.kind === 'none') return noRoute(name, to.address);
  if (found.kind === 'route' && found.route.hops.length === 0) return refusedByRoute(name, found.route);
  const step =
    found.kind === 'local'
      ? ownAddressStep(name, to.address)
      : routeSteps(world, machine, found.route, to.address);
  const source = to.address.startsWith('127.') ? '127.0.0.1' : machine.sourceFor(to.address);
  if (source === undefined)
    return unknown({ kind: 'not-modelled', reason: `${name} has no address that it could send from` });
  const packet: Packet = { ...destinationOf(to), source, visited: [name], forwarders: [] };
  if (machine.node === undefined)
    return after(
      step,
      found.kind === 'local' ? listener(world, machine, packet) : send(world, machine, found.route, packet),
    );

  const verdict = translate(world, machine, packet);
  if (verdict.kind === 'unknown') return unknown({ kind: 'not-modelled', reason: verdict.reason });
  if (verdict.kind === 'translate') return after(step, deliver(world, machine, packet, verdict, 'own'));
  const left = verdict.kind === 'left' ? [ruleStep(name, verdict.chains, verdict.text)] : [];
  const sent = verdict.kind === 'left' ? marked(packet, verdict.dropReason) : packet;
  const stopped = filter(world, machine, sent, 'output');
  if (stopped !== undefined)
    return after([...step, ...left], filtered(name, stopped, ownFailure(stopped, to)));
  const rest = found.kind === 'local' ? enter(world, machine, sent) : send(world, machine, found.route, sent);
  return after([...step, ...left], rest);
}

/** A packet that comes in from a pod of the node or from another machine: PREROUTING, route, INPUT or FORWARD. */
export function arrive(world: World, name: string, packet: Packet): Ways {
  const machine = world.machine(name);
  const unseen = machine === undefined ? notObserved(name) : unobserved(machine);
  if (machine === undefined || unseen !== undefined) return unknown(unseen ?? notObserved(name));
  if (packet.visited.length > 0 && machine.isOwn(packet.source))
    return ended(
      'timeout',
      { text: '{at} drops what comes in with its own address as the source', at: name },
      [{ at: name, layer: 'route', text: `${packet.source} is its own address: dropped as martian` }],
    );
  if (packet.visited.includes(name))
    return ended('host-unreachable', { text: 'the routes lead in a circle, back to {at}', at: name }, [
      { at: name, layer: 'route', text: `back again: ${[...packet.visited, name].join(' > ')}` },
    ]);
  const here = { ...packet, visited: [...packet.visited, name] };
  if (machine.node === undefined) return pass(world, machine, here);
  const verdict = translate(world, machine, here);
  switch (verdict.kind) {
    case 'unknown':
      return unknown({ kind: 'not-modelled', reason: verdict.reason });
    case 'translate':
      return deliver(world, machine, here, verdict, 'forwarded');
    case 'left':
      return after(
        [ruleStep(name, verdict.chains, verdict.text)],
        pass(world, machine, marked(here, verdict.dropReason)),
      );
    case 'none':
      return pass(world, machine, here);
  }
}

function marked(packet: Packet, dropReason: string | undefined): Packet {
  return dropReason === undefined ? packet : { ...packet, dropReason };
}

/** The routing decision about a packet that came in, and what follows. */
function pass(world: World, machine: Machine, packet: Packet): Ways {
  const { name } = machine;
  const found = machine.lookup(packet.destination);
  if (found.kind === 'local') return enter(world, machine, packet);
  if (!machine.state.ipForward)
    return ended('timeout', { text: '{at} does not forward packets', at: name }, [
      { at: name, layer: 'route', text: 'net.ipv4.ip_forward is 0: dropped' },
    ]);
  if (found.kind === 'none')
    return ended(
      'no-route',
      { text: '{at} has no route to it and says so (ICMP network unreachable)', at: name },
      [{ at: name, layer: 'route', text: `no route to ${packet.destination}: ICMP network unreachable` }],
    );
  const { route } = found;
  const stopped = machine.node === undefined ? undefined : filter(world, machine, packet, 'forward');
  // A node that has no pod of its own for it says why it comes to such a route.
  const dropReason = packet.dropReason ?? (stopped?.action === 'drop' ? stopped.reason : undefined);
  if (route.hops.length === 0) return deadEnd(name, route, dropReason);
  const step = routeSteps(world, machine, route, packet.destination);
  if (stopped !== undefined)
    return after(step, filtered(name, stopped, stopped.action === 'reject' ? 'refused' : 'timeout'));
  return after(step, send(world, machine, route, { ...packet, forwarders: [...packet.forwarders, name] }));
}

/** POSTROUTING and the wire: to each of the next hops. */
function send(world: World, machine: Machine, route: Route, packet: Packet): Ways {
  const problem = machine.state.natOutgoing?.problem;
  if (problem !== undefined && world.nodeOf(packet.source) !== undefined)
    return unknown({ kind: 'not-modelled', reason: problem });
  const choices = route.hops.map((hop) => sendBy(world, machine, hop, packet));
  const [only] = choices;
  const [hop] = route.hops;
  if (choices.length === 1 && only !== undefined)
    return after([], only, passing(world, machine, hop?.gateway));
  const names = route.hops.map(({ gateway }) => world.ownerOf(gateway ?? '') ?? gateway ?? '');
  const ways = merged(choices, 'each of them');
  const spreads = `${machine.name} spreads connections over ${listed(names)}`;
  const losing = choices.filter(({ ends }) => ends.length > 0);
  if (ways.servers.length === 0 || losing.length === 0) return after([], ways, `${spreads}, and `);
  // What can go wrong is the finding; that the others answer is not.
  const lost = listed(names.filter((_, index) => losing.includes(choices[index] ?? ways)));
  return after(
    [],
    { ...ways, reason: merged(losing, 'each of them').reason },
    `${spreads}, of which ${lost} lose it: `,
  );
}

function sendBy(world: World, machine: Machine, hop: Hop, packet: Packet): Ways {
  const { name } = machine;
  const { destination, source } = packet;
  const masked = leavesPodNetwork(machine, source, destination)
    ? machine.masqueradeSource(hop, destination)
    : undefined;
  const nat: readonly ChainStep[] =
    masked === undefined
      ? []
      : [
          {
            at: name,
            layer: 'rule',
            text: `${machine.state.natOutgoing?.chain}: leaves the pod network, so the source becomes ${masked}`,
            chains: [machine.state.natOutgoing?.chain ?? ''],
          },
        ];
  const sent = masked === undefined ? packet : { ...packet, source: masked, forwarders: [] };
  const before =
    masked === undefined
      ? undefined
      : `${name} masquerades it with its own address, because it leaves the pod network; `;
  if (hop.gateway === undefined && world.nodeOf(destination) === name)
    return after(nat, atPod(world, machine, sent), before);
  const next = world.ownerOf(hop.gateway ?? destination);
  if (next === undefined)
    return after(
      nat,
      ended(
        'timeout',
        { text: `nobody on the link of {at} has the address ${hop.gateway ?? destination}`, at: name },
        [{ at: name, layer: 'link', text: `no answer to ARP for ${hop.gateway ?? destination}` }],
      ),
      before,
    );
  const ways = arrive(world, next, sent);
  return after(nat, masked === undefined ? ways : bothWays(world, name, packet, ways), before);
}

/** A gateway that only forwards is worth a clause; one that runs kube-proxy has a clause of its own. */
function passing(world: World, { name }: Machine, gateway: string | undefined): string | undefined {
  const next = gateway === undefined ? undefined : world.ownerOf(gateway);
  if (next === undefined || world.machine(next)?.node !== undefined) return undefined;
  return `${name} sends it to ${next}; `;
}

/** The packet is for a pod of this node, at the pod's end of its link. */
function atPod(world: World, machine: Machine, packet: Packet): Ways {
  const { destination, source, port } = packet;
  const [pod] = world.podsAt(destination);
  const at = pod === undefined ? destination : `pod/${pod.name}`;
  const steps: readonly ChainStep[] = [
    { at, layer: 'endpoint', text: `${destination}:${port}, on ${machine.name}` },
    { at, layer: 'source', text: `the server sees ${source}` },
  ];
  return arriving(
    world,
    machine,
    packet,
    answered(
      [destination],
      [source],
      { text: 'the packet is routed to the pod, and nothing translates it', at: machine.name },
      steps,
    ),
  );
}

function arriving(world: World, machine: Machine, packet: Packet, ways: Ways): Ways {
  const { source } = packet;
  if (answersArrive(world, machine.name, source)) return bothWays(world, machine.name, packet, ways);
  return ended('timeout', { text: `{at} has no route back to ${source} for the answer`, at: machine.name }, [
    ...ways.steps,
    { at: machine.name, layer: 'route', text: `the answer to ${source} finds no way` },
  ]);
}

/** INPUT. */
function enter(world: World, machine: Machine, packet: Packet): Ways {
  const stopped = machine.node === undefined ? undefined : filter(world, machine, packet, 'input');
  if (stopped === undefined) return bothWays(world, machine.name, packet, listener(world, machine, packet));
  return filtered(machine.name, stopped, stopped.action === 'reject' ? 'refused' : 'timeout');
}

/** A pod in the node's own network, or nobody. */
function listener(world: World, machine: Machine, packet: Packet): Ways {
  const { name } = machine;
  const { destination, port, protocol, source } = packet;
  const pods = world.hostPodsOn(name);
  const pod = pods.find(({ ports }) =>
    ports.some((each) => each.port === port && each.protocol === protocol),
  );
  if (pod !== undefined)
    return answered(
      [destination],
      [source],
      {
        text: `pod ${pod.name} listens in the network of {at}, its node, and nothing translates the packet`,
        at: name,
      },
      [
        {
          at: `pod/${pod.name}`,
          layer: 'endpoint',
          text: `${destination}:${port}, in the network of ${name}`,
        },
        { at: `pod/${pod.name}`, layer: 'source', text: `the server sees ${source}` },
      ],
    );
  const silent = pods.find(({ ports }) => ports.length === 0);
  if (silent !== undefined)
    return unknown({
      kind: 'not-modelled',
      reason: `pod ${silent.name} in the network of ${name} does not say which ports it listens on`,
    });
  return ended('refused', { text: `nothing on {at} listens on port ${port}/${protocol}`, at: name }, [
    { at: name, layer: 'endpoint', text: `nothing listens on ${destination}:${port}/${protocol}` },
  ]);
}

function filtered(at: string, { chains, text, reason }: FilterVerdict, outcome: Outcome): Ways {
  return ended(outcome, { text: reason, at }, [ruleStep(at, chains, text)]);
}

/**
 * How a rule of OUTPUT shows to the sender: a dropped or rejected datagram is EPERM at once, a rejected SYN is
 * ECONNREFUSED, a dropped one only times out.
 */
function ownFailure({ action }: FilterVerdict, { protocol }: Destination): Outcome {
  if (protocol === 'udp') return 'denied';
  return action === 'reject' ? 'refused' : 'timeout';
}

function ruleStep(at: string, chains: readonly string[], text: string): ChainStep {
  return { at, layer: 'rule', text: `${chains.join(' > ')}; ${text}`, chains };
}

function noRoute(name: string, address: string): Ways {
  return ended('no-route', { text: '{at} has no route to this address and no default route', at: name }, [
    { at: name, layer: 'route', text: `no route to ${address}: ENETUNREACH` },
  ]);
}

/** What a process gets for a route that leads nowhere: EINVAL (blackhole), EHOSTUNREACH, EACCES (prohibit). */
function refusedByRoute(name: string, { prefix, type, protocol }: Route): Ways {
  const [outcome, error]: readonly [Outcome, string] =
    type === 'unreachable'
      ? ['host-unreachable', 'EHOSTUNREACH']
      : type === 'prohibit'
        ? ['denied', 'EACCES']
        : ['no-route', 'EINVAL'];
  const text =
    type === 'blackhole' && BGP_PROTOCOLS.includes(protocol)
      ? `{at} announces this address and therefore holds a blackhole route for it, which its own processes run into (EINVAL)`
      : `{at} has a route of type ${type} for it (${error})`;
  return ended(outcome, { text, at: name }, [
    { at: name, layer: 'route', text: `${prefix}: ${type} (${protocol}), ${error}` },
  ]);
}

function destinationOf({ address, port, protocol }: Destination) {
  return { destination: address, port, protocol };
}
