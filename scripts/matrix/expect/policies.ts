import type { Address } from '../addresses.ts';
import type { PolicyStop } from '../policy/policies.ts';
import type { Direction, Peer, PolicyFlow, PolicyPod } from '../policy/types.ts';
import type { Outcome } from '../types.ts';
import { unknown } from './trace.ts';
import type { FilterVerdict, Machine, NetworkState, Packet, Trace } from './types.ts';

/** A packet that a node's policies stop, or about which they are not known. */
export type Policed =
  | { readonly kind: 'unknown'; readonly reason: string }
  | { readonly kind: 'stopped'; readonly verdict: FilterVerdict };

/**
 * What Calico's policies do with a packet of a new connection that a node gets or forwards, after translation and before
 * masquerading: egress of what its own pods send, ingress of what is for them. What the node itself sends to its pods
 * passes unasked (felix, cali-OUTPUT).
 */
export function policed(
  network: NetworkState,
  machine: Machine,
  packet: Pick<Packet, 'source' | 'destination' | 'port' | 'protocol'>,
): Policed | undefined {
  const { policies } = network;
  if (policies === undefined || machine.node === undefined) return undefined;
  const { source, destination, port, protocol } = packet;
  const peerOf = (address: Address): Peer => {
    const pod = policies.podAt(address);
    return pod === undefined ? { address } : { address, pod };
  };
  const flow = { protocol, port, source: peerOf(source), destination: peerOf(destination) };
  const isHere = (address: Address) => network.nodeOf(address) === machine.name;
  for (const [direction, { address, pod }] of [
    ['egress', flow.source],
    ['ingress', flow.destination],
  ] as const) {
    if (pod === undefined || !isHere(address) || machine.isOwn(source)) continue;
    const stop = policies.ask(direction, pod, flow);
    if (stop?.kind === 'unknown') return stop;
    if (stop !== undefined)
      return { kind: 'stopped', verdict: verdictOf(machine, direction, pod, flow, stop) };
  }
  return undefined;
}

/**
 * A question of `at` to a server of names, where policies stop it, or where it is not known whether they do; undefined where none
 * does. `outcome`: how the resolver fails without an answer.
 */
export function unanswered(
  question: Trace,
  at: string,
  server: Address,
  outcome: Outcome,
): Trace | undefined {
  const { servers, unknown: what } = question.outcomes;
  if (what !== undefined) return unknown(at, what);
  if (!isPoliced(question)) return undefined;
  const reason = `policies let ${at} ask some of the cluster's DNS servers only`;
  if (servers.length > 0) return unknown(at, { kind: 'not-modelled', reason });
  const outcomes = { servers: [], clients: [], ends: [outcome] };
  return { at, decision: { kind: 'question', server }, next: [question], outcomes };
}

/** Whether a policy stops it anywhere. */
function isPoliced({ decision, next }: Trace): boolean {
  if (decision.kind === 'translate') return decision.choices.stops.length > 0;
  if (decision.kind === 'end')
    return decision.cause.kind === 'filtered' && decision.cause.verdict.policies !== undefined;
  return next.some(isPoliced);
}

function verdictOf(
  { lookup }: Machine,
  direction: Direction,
  { ip, namespace, name }: PolicyPod,
  { source, destination, port, protocol }: PolicyFlow,
  { policies, byDefault }: Extract<PolicyStop, { kind: 'denied' }>,
): FilterVerdict {
  const found = lookup(ip);
  const [hop] = found.kind === 'route' ? found.route.hops : [];
  const names = policies.join(' and ');
  const what = `port ${port}/${protocol}`;
  const [who, way] =
    direction === 'ingress' ? [source.address, 'in to'] : [`pod ${name}`, `out to ${destination.address},`];
  const text = byDefault
    ? `${names} ${policies.length > 1 ? 'do' : 'does'} not let ${who} ${way} ${what}`
    : `${names} denies ${who} ${direction === 'ingress' ? '' : `${destination.address}, `}${what}`;
  const [dispatch, chain] = direction === 'ingress' ? ['to', 'tw'] : ['from', 'fw'];
  return {
    action: 'drop',
    chains: ['cali-FORWARD', `cali-${dispatch}-wl-dispatch`, `cali-${chain}-${hop?.interface ?? ''}`],
    text: `${direction} of pod ${namespace}/${name}: ${text}: DROP`,
    reason: `{at} drops the packet, because ${text}`,
    policies,
  };
}
