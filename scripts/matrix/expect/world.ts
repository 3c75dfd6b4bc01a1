import type { EchoPod, EchoService, Endpoint, ServicePort } from '../endpoints.ts';
import { externalAddresses } from '../endpoints.ts';
import type { ObservedState } from '../state/types.ts';
import type { Protocol } from '../types.ts';
import { indexMachine, type Machine } from './machine.ts';

/** What a service port is reached by. */
export interface Match {
  readonly role: 'cluster-ip' | 'external-ip' | 'load-balancer-ip' | 'node-port';
  readonly service: EchoService;
  readonly port: ServicePort;
}

/** The observed state with an index for every question that following a packet asks. */
export interface World {
  readonly state: ObservedState;
  /** undefined where nothing of that name was looked at. */
  machine(name: string): Machine | undefined;
  /** The machine that has the address on one of its interfaces. */
  ownerOf(address: string): string | undefined;
  /** The node that the pod with this address runs on. */
  nodeOf(address: string): string | undefined;
  podsAt(address: string): readonly EchoPod[];
  hostPodsOn(node: string): readonly EchoPod[];
  service(name: string): EchoService | undefined;
  /** Rules for an address and port, in the order of kube-proxy's rules for one service. */
  byAddress(address: string, port: number, protocol: Protocol): readonly Match[];
  byNodePort(port: number, protocol: Protocol): Match | undefined;
  /** Results that were worked out before, by whoever asks. */
  readonly memory: Map<string, unknown>;
}

const worlds = new WeakMap<ObservedState, World>();

/** The index of a state, made once per state. */
export function worldOf(state: ObservedState): World {
  const before = worlds.get(state);
  if (before !== undefined) return before;
  const world = buildWorld(state);
  worlds.set(state, world);
  return world;
}

function buildWorld(state: ObservedState): World {
  const nodes = new Map(state.nodes.map((node) => [node.name, node]));
  const machines = new Map(
    [...state.machines].map(([name, machine]) => [name, indexMachine(machine, nodes.get(name))]),
  );
  const owners = new Map<string, string>();
  for (const { name, interfaces } of state.machines.values())
    for (const { addresses } of interfaces)
      for (const { address, scope } of addresses) if (scope !== 'host') owners.set(address, name);
  for (const { name, addresses } of state.nodes)
    for (const address of addresses) if (!owners.has(address)) owners.set(address, name);

  const endpoints = state.services.flatMap((service) => service.endpoints);
  const podNodes = new Map<string, string>();
  for (const { ip, node } of [...endpoints, ...state.pods])
    if (ip !== undefined && node !== undefined) podNodes.set(ip, node);
  const podsByIp = grouped(state.pods, ({ ip }) => ip);
  const hostPods = grouped(
    state.pods.filter(({ hostNetwork }) => hostNetwork),
    ({ node }) => node,
  );
  const services = new Map(state.services.map((service) => [service.name, service]));
  const matches = state.services.flatMap(matchesOf);
  const byAddress = grouped(matches, ({ key }) => key);
  const byNodePort = new Map(
    matches.filter(({ match }) => match.role === 'node-port').map(({ key, match }) => [key, match]),
  );
  return {
    state,
    machine: (name) => machines.get(name),
    ownerOf: (address) => owners.get(address),
    nodeOf: (address) => podNodes.get(address),
    podsAt: (address) => podsByIp.get(address) ?? [],
    hostPodsOn: (node) => hostPods.get(node) ?? [],
    service: (name) => services.get(name),
    byAddress: (address, port, protocol) =>
      (byAddress.get(`${address}:${port}/${protocol}`) ?? []).map(({ match }) => match),
    byNodePort: (port, protocol) => byNodePort.get(`:${port}/${protocol}`),
    memory: new Map(),
  };
}

function matchesOf(service: EchoService): readonly { readonly key: string; readonly match: Match }[] {
  const { clusterIp, externalIps } = service;
  const external = externalAddresses(service);
  return service.ports.flatMap((port) => {
    const at = (address: string, role: Match['role'], number = port.port) => ({
      key: `${address}:${number}/${port.protocol}`,
      match: { role, service, port },
    });
    return [
      ...(clusterIp === undefined ? [] : [at(clusterIp, 'cluster-ip')]),
      ...external.filter((ip) => externalIps.includes(ip)).map((ip) => at(ip, 'external-ip')),
      ...service.loadBalancerIps.map((ip) => at(ip, 'load-balancer-ip')),
      ...(port.nodePort === undefined ? [] : [at('', 'node-port', port.nodePort)]),
    ];
  });
}

/** Items by key; those without one are left out. */
function grouped<T>(items: readonly T[], keyOf: (item: T) => string | undefined): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Works a value out at the first question and remembers it with the world. */
export function remembered<T>(world: World, key: string, make: () => T): T {
  if (world.memory.has(key)) return world.memory.get(key) as T;
  const value = make();
  world.memory.set(key, value);
  return value;
}

/** "echo-server1", or the address of an endpoint that is no pod. */
export function endpointName({ pod, ip }: Endpoint): string {
  return pod ?? ip;
}
