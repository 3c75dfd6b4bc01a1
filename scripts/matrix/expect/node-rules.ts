import { inAny } from '../addresses.ts';
import { bareName } from '../endpoints.ts';
import { backendsOf } from './backends.ts';
import { NONE } from './service-rules.ts';
import type {
  FilterVerdict,
  Hook,
  KubeProxy,
  Machine,
  Match,
  NatVerdict,
  NetworkState,
  NodeCall,
  Packet,
} from './types.ts';

/** What a node's rules make of a packet's destination, in PREROUTING and OUTPUT. */
export function translate(network: NetworkState, machine: Machine, packet: Packet): NatVerdict {
  const { kubeProxy } = machine;
  if (kubeProxy === undefined) return NONE;
  const call = callOf(network, machine, kubeProxy, packet);
  const matches = call.nodePort === undefined ? call.matches : [...call.matches, call.nodePort];
  if (matches.length === 0) return NONE;
  const reason = kubeProxy.problemWith(matches) ?? ambiguity(call);
  return reason === undefined ? kubeProxy.rules.translate(call) : { kind: 'unknown', reason, matches };
}

/** The service ports that have a packet's destination. Where several share it, the node's own rules say in which order. */
function callOf(network: NetworkState, machine: Machine, kubeProxy: KubeProxy, packet: Packet): NodeCall {
  const { destination, port, protocol } = packet;
  const found = network.byAddress(destination, port, protocol);
  const nodePort = machine.isOwn(destination) ? network.byNodePort(port, protocol) : undefined;
  if (found.length < 2) return { network, machine, kubeProxy, packet, nodePort, matches: found };
  const owners = ownersOf({ machine, packet });
  const place = (match: Match) => {
    const index = owners.indexOf(match.names(kubeProxy.rules).owner);
    return index < 0 ? owners.length : index;
  };
  const matches = [...found].sort((a, b) => place(a) - place(b));
  return { network, machine, kubeProxy, packet, nodePort, matches };
}

function ownersOf({ machine, packet }: Pick<NodeCall, 'machine' | 'packet'>): readonly string[] {
  const { destination, port, protocol } = packet;
  return machine.state.externalOwners?.get(`${destination}:${port}/${protocol}`) ?? [];
}

/** kube-proxy puts services that share an address in any order, so that only its rules themselves can tell. */
function ambiguity(call: NodeCall): string | undefined {
  const { matches, machine, network, packet } = call;
  if (matches.length < 2 || ownersOf(call).length > 0) return undefined;
  const names = matches
    .filter(({ service, port }) => backendsOf(network, service, port, machine).all.length > 0)
    .map(({ service: { namespace, name } }) => `${namespace}/${bareName(name)}`);
  if (new Set(names).size < 2) return undefined;
  return `${names.join(' and ')} share ${packet.destination}:${packet.port}, and the rules of ${machine.name} do not say which of them has it`;
}

/**
 * What a node's rules stop of what they do not translate. Where Calico is, its chain against service addresses that go
 * round, from FORWARD, and its decision about what pods send to their own node, from INPUT; policies: policies.ts.
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
