import { sorted } from '../addresses.ts';
import type { Hop, Route } from '../state/types.ts';
import type { Outcome } from '../types.ts';
import type { Machine } from './machine.ts';
import type { Reach } from './packet.ts';
import type { Unknown } from './ways.ts';
import type { World } from './world.ts';

const NOWHERE: readonly Reach[] = [];
const ARRIVED: readonly Outcome[] = [];

/** Follows the routes from a machine to an address. Worked out once per machine and address. */
export function reach(world: World, from: Machine, address: string): Reach {
  const before = from.reached.get(address);
  if (before !== undefined) return before;
  // What asks again before the answer is known has come around in a circle.
  from.reached.set(address, { at: from.name, next: NOWHERE, ends: ['host-unreachable'] });
  const way = follow(world, from, address);
  from.reached.set(address, way);
  return way;
}

/** The same without remembering it, for those who remember what they make of it. */
export function follow(world: World, machine: Machine, address: string): Reach {
  const at = machine.name;
  const unseen = unobserved(machine);
  if (unseen !== undefined) return { at, next: NOWHERE, ends: ARRIVED, unknown: unseen };
  const found = machine.lookup(address);
  if (found.kind === 'local') return { at, next: NOWHERE, ends: ARRIVED };
  if (found.kind === 'none') return { at, next: NOWHERE, ends: ['no-route'] };
  const { route } = found;
  const [hop, another] = route.hops;
  if (hop === undefined) return { at, route, next: NOWHERE, ends: [routeFailure(route)] };
  if (another === undefined) {
    const next = nextHop(world, machine, hop, address);
    if (next === undefined) return { at, route, next: NOWHERE, ends: ARRIVED };
    const { ends, unknown } = next;
    return unknown === undefined
      ? { at, route, next: [next], ends }
      : { at, route, next: [next], ends, unknown };
  }
  const next = route.hops.flatMap((each) => nextHop(world, machine, each, address) ?? []);
  const unknown = next.find((way) => way.unknown !== undefined)?.unknown;
  const ends = [...new Set(next.flatMap((way) => way.ends))];
  return { at, route, next, ends, ...(unknown === undefined ? {} : { unknown }) };
}

/** Undefined where the hop leads to a pod of the machine itself. */
function nextHop(world: World, machine: Machine, hop: Hop, address: string): Reach | undefined {
  if (hop.gateway === undefined && world.nodeOf(address) === machine.name) return undefined;
  const at = world.ownerOf(hop.gateway ?? address);
  // Nobody answers ARP; the three seconds until the kernel says so are longer than a probe waits.
  if (at === undefined) return { at: hop.gateway ?? address, next: NOWHERE, ends: ['timeout'] };
  const owner = world.machine(at);
  if (owner === undefined) return { at, next: NOWHERE, ends: ARRIVED, unknown: notObserved(at) };
  const forwards = owner.state.problem !== undefined || owner.state.ipForward || owner.isOwn(address);
  return forwards ? reach(world, owner, address) : { at, next: NOWHERE, ends: ['timeout'] };
}

/** How a route that leads nowhere ends a connection that a machine forwards: by ICMP, or in silence. */
export function routeFailure({ type }: Route): Outcome {
  return type === 'unreachable' || type === 'prohibit' ? 'host-unreachable' : 'timeout';
}

/** Why nothing can be said about what a machine does with packets. */
export function unobserved({ name, state }: Machine): Unknown | undefined {
  if (state.problem !== undefined) return notObserved(name, state.problem);
  const [rule] = state.policyRules;
  if (rule === undefined) return undefined;
  return { kind: 'not-modelled', reason: `policy routing is not modelled: ${name} has the rule "${rule}"` };
}

/** A machine that nobody looked at. */
export function notObserved(machine: string, problem = 'it is no machine of the lab'): Unknown {
  return { kind: 'not-observed', reason: `${machine} could not be looked at: ${problem}`, machine };
}

/** The way of an answer from an endpoint's node; undefined where it does not arrive. */
export function answerWay(world: World, node: string, address: string): Reach | undefined {
  const machine = world.machine(node);
  const way = machine === undefined ? undefined : reach(world, machine, address);
  return way === undefined || way.ends.length > 0 || way.unknown !== undefined ? undefined : way;
}

/**
 * True if answers from an endpoint on `node` to `source` pass the machine that translated the connection. Otherwise they
 * arrive with the endpoint's own address, and the client does not know what to do with them.
 */
export function answersPass(world: World, node: string, source: string, translator: string): boolean {
  if (node === translator) return true;
  const machine = world.machine(node);
  if (machine === undefined || unobserved(machine) !== undefined) return false;
  if (answersStraight(world, node, source, translator)) return true;
  const way = answerWay(world, node, source);
  return way !== undefined && passes(way, translator);
}

/** True if the machine is the only next hop of answers from `node`, or has the address itself: nearly always so. */
export function answersStraight(world: World, node: string, source: string, machine: string): boolean {
  const found = world.machine(node)?.lookup(source);
  const [hop, another] = found?.kind === 'route' ? found.route.hops : [];
  return hop !== undefined && another === undefined && world.ownerOf(hop.gateway ?? source) === machine;
}

function passes(way: Reach, name: string): boolean {
  return way.at === name || way.next.some((next) => passes(next, name));
}

/** True if an answer from `node` finds a way to `source`. */
export function answersArrive(world: World, node: string, source: string): boolean {
  return answerWay(world, node, source) !== undefined;
}

/** "k8sworker1 (192.168.13.35), ...": the next hops by name. */
export function hopNames(world: World, route: Route, destination: string): readonly string[] {
  const gateways = route.hops.map(({ gateway }) => gateway ?? destination);
  return sorted(gateways).map((address) => {
    const name = world.ownerOf(address) ?? world.nodeOf(address);
    return name === undefined ? address : `${name} (${address})`;
  });
}
