import { type LabPlan, machinesOf } from '../plan/types.ts';
import {
  bareName,
  type EchoPod,
  type EchoService,
  externalAddresses,
  type PodPort,
  serverPods,
  tested,
} from './endpoints.ts';
import { networkOf } from './expect/network-state.ts';
import type { NetworkState } from './expect/types.ts';
import { predict } from './expect.ts';
import type { NodeState, ObservedState } from './state/types.ts';
import { type Cell, type FlowSource, type PortProtocol, type Target, targetId } from './types.ts';
import { CLIENT_POD_CHECK } from './workloads.ts';

/** Which targets a matrix has beside the usual ones. */
export interface MatrixOptions {
  /** Pings: to pods, nodes, ClusterIPs and external addresses. */
  readonly icmp?: boolean;
}

/** The whole matrix: every source to every target, each cell with its expectation. Ids are unique. */
export function buildCells(
  plan: LabPlan,
  state: ObservedState,
  options: MatrixOptions = {},
): readonly Cell[] {
  const network = networkOf(state);
  const targets = buildTargets(tested(plan, state), options);
  return flowSources(plan, state).flatMap((from) => targets.map((target) => cellOf(network, from, target)));
}

/** One cell, predicted. */
export function cellOf(network: NetworkState, from: FlowSource, target: Target): Cell {
  const isAbsent = from.kind === 'pod' && from.address === undefined;
  return {
    id: `${from.name}>${targetId(target)}`,
    from: from.name,
    ...target,
    ...predict(network, from, target),
    ...(isAbsent ? { blockedBy: CLIENT_POD_CHECK } : {}),
  };
}

/** Where connections start: the nodes, the client pod, the router and the clients, in plan order. */
export function flowSources(plan: LabPlan, state: ObservedState): readonly FlowSource[] {
  const machines = (kind: 'node' | 'router' | 'client', ...roles: Parameters<typeof machinesOf>[1][]) =>
    machinesOf(plan, ...roles).map(({ name, address }): FlowSource => ({ kind, name, address }));
  const pod = state.pods.find(({ name }) => name === plan.echo.clientPod.pod);
  return [
    ...machines('node', 'control-plane', 'worker'),
    {
      kind: 'pod',
      name: `pod/${plan.echo.clientPod.pod}`,
      node: pod?.node ?? plan.echo.clientPod.node,
      ...(pod?.ready === true && pod.ip !== undefined ? { address: pod.ip } : {}),
    },
    ...machines('router', 'router'),
    ...machines('client', 'client'),
  ];
}

/** Where connections go: pods, headless names, ClusterIPs, node ports on every node, external addresses. */
function buildTargets(state: ObservedState, { icmp = false }: MatrixOptions = {}): readonly Target[] {
  const { services, nodes } = state;
  const foreign = new Set(state.pods.flatMap(({ name, isForeign }) => (isForeign ? [name] : [])));
  const ofServices = (targetsOf: (service: EchoService) => readonly Target[]) =>
    services.flatMap((service) => {
      const isEcho = service.endpoints.every(({ pod }) => pod !== undefined && !foreign.has(pod));
      return targetsOf(service).map((target) =>
        isEcho ? target : { ...target, ...talkOf(service, target) },
      );
    });
  return [
    ...podTargets(state),
    ...ofServices((service) => nameTargets(state, service)),
    ...ofServices(clusterIpTargets),
    ...ofServices((service) => nodePortTargets(nodes, service)),
    ...ofServices(externalIpTargets),
    ...hostPortTargets(state),
    ...(icmp ? pingTargets(state) : []),
  ];
}

/** Every address once: several services may share an external one. */
function pingTargets(state: ObservedState): Target[] {
  const { services, nodes } = state;
  const ping = { port: 0, protocol: 'icmp' } as const;
  const external = [...new Set(services.flatMap(externalAddresses))];
  return [
    ...serverPods(state).map(
      ({ name, ip }): Target => ({ kind: 'pod', to: `pod/${name}`, address: ip, ...ping, pods: [ip] }),
    ),
    ...nodes.flatMap(({ name, addresses: [address] }): Target[] =>
      address === undefined ? [] : [{ kind: 'node', to: `node/${name}`, address, ...ping, node: name }],
    ),
    ...services.flatMap(({ name, clusterIp }): Target[] =>
      clusterIp === undefined
        ? []
        : [{ kind: 'cluster-ip', to: `${name}/cluster-ip`, address: clusterIp, ...ping, service: name }],
    ),
    ...external.map((address): Target => ({ kind: 'external-ip', to: address, address, ...ping })),
  ];
}

/** Ports of nodes that lead to a pod, with a service or without. */
function hostPortTargets({ pods, nodes }: ObservedState): Target[] {
  const addresses = new Map(nodes.map(({ name, addresses: [address] }) => [name, address]));
  return byProtocol(
    pods.flatMap(({ name, ip, node = '', ready, ports, isForeign }) =>
      ports.flatMap(({ protocol, host, isHttp }): Target[] => {
        const address = host?.ip ?? addresses.get(node);
        if (!ready || ip === undefined || host === undefined || address === undefined) return [];
        const { port } = host;
        const talk = podTalk(isForeign, isHttp);
        const to = `pod/${name}/${node}`;
        return [{ kind: 'host-port', to, address, port, protocol, node, pods: [ip], ...talk }];
      }),
    ),
  );
}

function podTalk(isForeign: true | undefined, isHttp: true | undefined): Pick<Target, 'talk'> {
  return isForeign ? { talk: isHttp ? 'http' : 'none' } : {};
}

/** How to talk to a service that is no echo server. */
function talkOf(
  { ports, endpoints, httpStatus }: EchoService,
  target: Target,
): Pick<Target, 'talk' | 'httpStatus'> {
  const isHttp = ports.some(
    ({ isHttp: speaksHttp, name, protocol, port, nodePort }) =>
      speaksHttp === true &&
      protocol === target.protocol &&
      [port, nodePort, ...endpoints.map((endpoint) => endpoint.ports[name])].includes(target.port),
  );
  if (!isHttp) return { talk: 'none' };
  return { talk: 'http', ...(httpStatus === undefined ? {} : { httpStatus }) };
}

function podTargets(state: ObservedState): Target[] {
  return byProtocol(
    serverPods(state).flatMap((pod) =>
      podPorts(state, pod).map(
        ({ port, protocol, isHttp }): Target => ({
          kind: 'pod',
          to: `pod/${pod.name}`,
          address: pod.ip,
          port,
          protocol,
          pods: [pod.ip],
          ...podTalk(pod.isForeign, isHttp),
        }),
      ),
    ),
  );
}

/** The ports that a pod declares, and those that services send to. */
function podPorts({ services }: ObservedState, { name, ports }: EchoPod): readonly PodPort[] {
  const all = new Map(ports.map((each) => [`${each.protocol} ${each.port}`, each]));
  for (const service of services)
    for (const endpoint of service.endpoints.filter(({ pod }) => pod === name))
      for (const { name: portName, protocol, isHttp } of service.ports) {
        const port = endpoint.ports[portName];
        if (port === undefined) continue;
        const key = `${protocol} ${port}`;
        all.set(key, { port, protocol, ...(isHttp ? { isHttp } : {}), ...all.get(key) });
      }
  return [...all.values()];
}

/** TCP first, as in the tables that are printed. */
function byProtocol(targets: readonly Target[]): Target[] {
  return (['tcp', 'udp'] as const).flatMap((each) => targets.filter(({ protocol }) => protocol === each));
}

/**
 * The service's own name, and one name per ready pod that has a hostname and this service as its subdomain. The name
 * stays a target when no pod is ready: then it must not resolve.
 */
function nameTargets(state: ObservedState, service: EchoService): Target[] {
  if (service.clusterIp !== undefined) return [];
  const domain = `${service.namespace}.svc.${state.domain}`;
  const own = bareName(service.name);
  const prefix = service.name.slice(0, -own.length);
  const servers = serverPods(state).filter(({ ip }) => service.backends.includes(ip));
  const named = servers.filter(
    ({ hostname, subdomain, namespace }) =>
      hostname !== undefined && subdomain === own && namespace === service.namespace,
  );
  const names = [
    { name: own, pods: service.backends },
    ...named.map(({ hostname, ip }) => ({ name: `${hostname}.${own}`, pods: [ip] })),
  ];
  const neighbours = state.pods.filter(({ namespace }) => namespace === service.namespace);
  return portsOf(servers.length > 0 ? servers : neighbours).flatMap(({ port, protocol }) =>
    names.map(
      ({ name, pods }): Target => ({
        kind: 'name',
        to: `${prefix}${name}`,
        address: `${name}.${domain}`,
        port,
        protocol,
        service: service.name,
        pods,
      }),
    ),
  );
}

/** The ports that pods declare, each once, TCP first. */
function portsOf(
  pods: readonly EchoPod[],
): readonly { readonly port: number; readonly protocol: PortProtocol }[] {
  const ports = new Map(
    pods.flatMap((pod) => pod.ports).map((each) => [`${each.protocol} ${each.port}`, each]),
  );
  return [...ports.values()].sort((a, b) => a.protocol.localeCompare(b.protocol) || a.port - b.port);
}

function clusterIpTargets({ name, clusterIp, ports }: EchoService): Target[] {
  if (clusterIp === undefined) return [];
  return ports.map(({ port, protocol }) => ({
    kind: 'cluster-ip',
    to: `${name}/cluster-ip`,
    address: clusterIp,
    port,
    protocol,
    service: name,
  }));
}

function nodePortTargets(nodes: readonly NodeState[], { name, ports }: EchoService): Target[] {
  return ports.flatMap(({ nodePort: port, protocol }) =>
    nodes.flatMap(({ name: node, addresses: [address] }): Target[] => {
      if (port === undefined || address === undefined) return [];
      return [{ kind: 'node-port', to: `${name}/${node}`, address, port, protocol, service: name, node }];
    }),
  );
}

function externalIpTargets(service: EchoService): Target[] {
  const { name, ports } = service;
  return externalAddresses(service).flatMap((ip) =>
    ports.map(
      ({ port, protocol }): Target => ({
        kind: 'external-ip',
        to: `${name}/${ip}`,
        address: ip,
        port,
        protocol,
        service: name,
      }),
    ),
  );
}
