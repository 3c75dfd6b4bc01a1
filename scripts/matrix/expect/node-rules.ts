import { inAny } from '../addresses.ts';
import type { FilterVerdict, Hook, KubeProxy, Machine, NatVerdict, NetworkState, NodeCall, Packet } from './types.ts';

const NONE: NatVerdict = { kind: 'none' };

/** What a node's rules make of a packet's destination, in PREROUTING and OUTPUT. */
export function translate(network: NetworkState, machine: Machine, packet: Packet): NatVerdict {
  const { kubeProxy } = machine;
  if (kubeProxy === undefined) return NONE;
  const call = callOf(network, machine, kubeProxy, packet);
  const { matches, nodePort } = call;
  if (matches.length === 0 && nodePort === undefined) return NONE;
  const reason = kubeProxy.problemWith(nodePort === undefined ? matches : [...matches, nodePort]);
  if (reason !== undefined)
    return { kind: 'unknown', reason, matches: nodePort === undefined ? matches : [...matches, nodePort] };
  return kubeProxy.rules.translate(call);
}

/** The service ports that have a packet's destination. Where several share it, the node's own rules say in which order. */
function callOf(network: NetworkState, machine: Machine, kubeProxy: KubeProxy, packet: Packet): NodeCall {
  const { destination, port, protocol } = packet;
  const found = network.byAddress(destination, port, protocol);
  const nodePort = machine.isOwn(destination) ? network.byNodePort(port, protocol) : undefined;
  const call = { network, machine, kubeProxy, packet, nodePort };
  if (found.length < 2) return { ...call, matches: found };
  const owners = machine.state.externalOwners?.get(`${destination}:${port}/${protocol}`) ?? [];
  const placeOf = (owner: string) => (owners.includes(owner) ? owners.indexOf(owner) : owners.length);
  const place = new Map(found.map((match) => [match, placeOf(match.names(kubeProxy.rules).owner)]));
  return { ...call, matches: [...found].sort((a, b) => (place.get(a) ?? 0) - (place.get(b) ?? 0)) };
}

/**
 * What a node's rules stop of what they do not translate. Where Calico is, its chain against service addresses that go
 * round, from FORWARD, and its decision about what pods send to their own node, from INPUT; its policies accept
 * everything, as long as nobody has made one.
 */
export function filter(
  network: NetworkState,
  machine: Machine,
  packet: Packet,
  hook: Hook,
): FilterVerdict | undefined {
  const { kubeProxy } = machine;
  if (kubeProxy === undefined) return undefined;
  const { podsToHost, serviceLoop } = machine.state;
  if (hook === 'input' && podsToHost !== undefined && network.nodeOf(packet.source) === machine.name) {
    if (podsToHost === 'drop') return TO_HOST_DROP;
    if (kubeProxy.rules.sharesChains) return undefined;
  }
  const loop = hook === 'forward' ? looping(machine, packet) : undefined;
  if (serviceLoop?.isFirst === true && loop !== undefined) return loop;
  return kubeProxy.rules.filter(callOf(network, machine, kubeProxy, packet), hook) ?? loop;
}

/** felix' cali-cidr-block, which ends what would go round between node and router. */
function looping({ state: { serviceLoop } }: Machine, { destination }: Packet): FilterVerdict | undefined {
  if (serviceLoop === undefined || !inAny(serviceLoop.prefixes, destination)) return undefined;
  const { action, chains = ['cali-FORWARD', 'cali-cidr-block'] } = serviceLoop;
  return {
    action,
    chains,
    text: `${destination} is a service address that nothing has translated: ${action.toUpperCase()}`,
    reason: `nothing on {at} translates this service address, and Calico ${action}s it before it goes round`,
  };
}

const TO_HOST_DROP: FilterVerdict = {
  action: 'drop',
  chains: ['cali-INPUT', 'cali-wl-to-host'],
  text: "DefaultEndpointToHostAction: what this node's pods send to the node itself is dropped",
  reason: '{at} drops what its own pods send to it (defaultEndpointToHostAction Drop)',
};
