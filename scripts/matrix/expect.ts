import { notObserved } from './expect/reach.ts';
import { arrive, originate } from './expect/walk.ts';
import {
  after,
  answered,
  ended,
  listed,
  merged,
  sentence,
  type Unknown,
  unknown,
  type Ways,
} from './expect/ways.ts';
import { type World, worldOf } from './expect/world.ts';
import { stateCheckId } from './state/checks.ts';
import type { ObservedState } from './state/types.ts';
import type { ChainStep, Expectation, FlowSource, Outcome, Target } from './types.ts';

/**
 * How a machine outside the cluster fails to resolve a cluster name. The lab's machines have no name server, and a stub
 * resolver without an answer cannot say that a name does not exist (seen with probe.py in a network namespace: empty
 * resolv.conf, one with a silent server and one with an unroutable server all give dns-error, none dns-nxdomain).
 */
export const MACHINE_DNS_OUTCOME: Outcome = 'dns-error';

/** An expectation, or why there is none: then its outcome is harness-error. */
export interface Prediction {
  readonly expected: Expectation;
  /** The state allows no statement: what is running is not modelled. */
  readonly skipped?: string;
  /** Chance decides between an answer, which must come, and failure: how it can end. */
  readonly chance?: string;
  /** The id of the check that says which machine could not be looked at. */
  readonly blockedBy?: string;
}

/**
 * Predicts one connection from observed state, by following its first packet: name, route at the source, next hops,
 * kube-proxy's rules where it comes in, route to the backend, and the way back. Pure. Where the kernel or kube-proxy
 * choose (ECMP, endpoints) every choice is followed. kube-proxy's rules are those of iptables mode, of Kubernetes 1.20
 * and of 1.24 and later.
 */
export function predict(state: ObservedState, from: FlowSource, target: Target): Prediction {
  const world = worldOf(state);
  const ways = follow(world, from, target);
  const { servers, clients, ends, steps: chain } = ways;
  if (ways.unknown !== undefined) return nothingKnown(world, ways.unknown);
  const isAnswered = servers.length > 0;
  const [end, other] = ends;
  if (end !== undefined && (isAnswered || other !== undefined)) {
    const chance = `chance decides between ${listed([...(isAnswered ? ['ok'] : []), ...ends])}`;
    const reason = `${chance}: ${sentence(ways.reason)}`;
    if (!isAnswered) return nothingKnown(world, { kind: 'not-modelled', reason }, chain);
    return { expected: { outcome: 'ok', servers, clients, why: asSentence(world, reason), chain }, chance };
  }
  const why = asSentence(world, sentence(ways.reason));
  return { expected: { outcome: end ?? 'ok', servers, clients: isAnswered ? clients : [], why, chain } };
}

function nothingKnown(
  world: World,
  { kind, reason, machine }: Unknown,
  chain: readonly ChainStep[] = [],
): Prediction {
  const why = asSentence(world, reason);
  const expected: Expectation = { outcome: 'harness-error', servers: [], clients: [], why, chain };
  return kind === 'not-observed' && machine !== undefined
    ? { expected, blockedBy: stateCheckId(machine) }
    : { expected, skipped: why };
}

/** A name stays as it is written, also at the start. */
function asSentence(world: World, text: string): string {
  const [first = ''] = text.split(/[ ,']/);
  const isName = world.machine(first) !== undefined || first.startsWith('pod/');
  const start = isName ? text.charAt(0) : text.charAt(0).toUpperCase();
  return `${start}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}

function follow(world: World, from: FlowSource, target: Target): Ways {
  if (target.kind !== 'name') return connect(world, from, target, target.address);
  const { address: name, pods = [] } = target;
  const at = from.name;
  if (!resolves(world, from))
    return ended(
      MACHINE_DNS_OUTCOME,
      { text: `only pods use the cluster's DNS, and {at} has no name server at all`, at },
      [{ at, layer: 'dns', text: `${name}: there is no name server to ask` }],
    );
  if (pods.length === 0)
    return ended(
      'dns-nxdomain',
      { text: 'a headless name has one address per ready pod, and there is none', at },
      [{ at, layer: 'dns', text: `${name}: NXDOMAIN` }],
    );
  const step: ChainStep = { at, layer: 'dns', text: `${name} is ${listed(pods)}` };
  const ways = merged(
    pods.map((pod) => connect(world, from, target, pod)),
    'its node',
  );
  const how =
    pods.length > 1
      ? 'a headless name resolves to the addresses of all its ready pods, and the client takes one of them; '
      : `a pod's own name under a headless service resolves to that pod's address; `;
  return after([step], ways, how);
}

function resolves(world: World, from: FlowSource): boolean {
  if (from.kind !== 'pod') return false;
  return podOf(world, from.name)?.usesClusterDns ?? false;
}

function podOf(world: World, probeSource: string) {
  return world.state.pods.find(({ name }) => `pod/${name}` === probeSource);
}

function connect(world: World, from: FlowSource, { port, protocol }: Target, address: string): Ways {
  if (from.kind !== 'pod') return originate(world, from.name, { address, port, protocol });
  if (from.address === undefined)
    return unknown({ kind: 'not-modelled', reason: `${from.name} does not run, so it connects to nothing` });
  if (podOf(world, from.name)?.hostNetwork === true)
    return originate(world, from.node, { address, port, protocol });
  // A pod that connects to itself does not leave its own network.
  if (address === from.address)
    return answered([address], [address], { text: 'the pod connects to itself', at: from.name }, [
      { at: from.name, layer: 'endpoint', text: `${address} is its own address` },
    ]);
  const step: ChainStep = { at: from.name, layer: 'route', text: `default route: to its node ${from.node}` };
  if (world.machine(from.node) === undefined) return unknown(notObserved(from.node));
  return after(
    [step],
    arrive(world, from.node, {
      source: from.address,
      destination: address,
      port,
      protocol,
      visited: [],
      forwarders: [],
    }),
  );
}
