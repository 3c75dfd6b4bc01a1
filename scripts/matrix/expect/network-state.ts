import { groupBy } from '../../shared/group.ts';
import {
  type EchoPod,
  type EchoService,
  type Endpoint,
  externalAddresses,
  isKubernetesOwn,
} from '../endpoints.ts';
import { policiesOf } from '../policy/policies.ts';
import type { ObservedState } from '../state/types.ts';
import { indexMachine } from './machine.ts';
import { Memo } from './memo.ts';
import type { HostPort, Match, NetworkState, ServiceNames, ServiceRules } from './types.ts';

/** Indexes an observed state. What follows many packets makes it once. */
export function networkOf(state: ObservedState): NetworkState {
  const nodes = new Map(state.nodes.map((node) => [node.name, node]));
  const machines = new Map(
    [...state.machines].map(([name, machine]) => [
      name,
      indexMachine(machine, nodes.get(name), nodes.get(name)?.proxy ?? state.proxy),
    ]),
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
    if (ip !== undefined && node !== undefined && !owners.has(ip)) podNodes.set(ip, node);
  // What Kubernetes runs in the network of its nodes is no target, and stands for nothing at a node's address.
  const pods = state.pods.filter((pod) => !pod.hostNetwork || !isKubernetesOwn(pod));
  const podsByIp = groupBy(pods, ({ ip }) => ip);
  const hostPods = groupBy(
    pods.filter(({ hostNetwork }) => hostNetwork),
    ({ node }) => node,
  );
  const hostPorts = groupBy(
    state.pods.flatMap((pod) => hostPortsOf(pod)),
    ({ key }) => key,
  );
  const services = new Map(state.services.map((service) => [service.name, service]));
  const matches = state.services.flatMap(matchesOf);
  const byAddress = groupBy(matches, ({ key }) => key);
  const clusterIps = new Set(state.services.map(({ clusterIp }) => clusterIp));
  const byNodePort = new Map(
    matches.filter(({ match }) => match.role === 'node-port').map(({ key, match }) => [key, match]),
  );
  const policies = policiesOf(state.policies);
  return {
    state,
    ...(policies === undefined ? {} : { policies }),
    machine: (name) => machines.get(name),
    ownerOf: (address) => owners.get(address),
    nodeOf: (address) => podNodes.get(address),
    isPodAddress: (address) => podNodes.has(address),
    podsAt: (address) => podsByIp.get(address) ?? [],
    hostPodsOn: (node) => hostPods.get(node) ?? [],
    hostPort: (node, address, port, protocol) =>
      hostPorts.size === 0
        ? undefined
        : hostPorts.get(`${node}:${port}/${protocol}`)?.find(({ ip }) => ip === undefined || ip === address),
    service: (name) => services.get(name),
    byAddress: (address, port, protocol) =>
      (byAddress.get(`${address}:${port}/${protocol}`) ?? []).map(({ match }) => match),
    byNodePort: (port, protocol) => byNodePort.get(`:${port}/${protocol}`),
    isClusterIp: (address) => clusterIps.has(address),
    memory: {
      endpoints: new Memo(),
      hinted: new Memo(),
      endpointChains: new Memo(),
      routed: new Map(),
      choices: new Memo(),
    },
  };
}

/** By node, port and protocol; a pod that has ended has no address and gets nothing. */
function hostPortsOf(pod: EchoPod): readonly (HostPort & { readonly key: string; readonly ip?: string })[] {
  const { ip, node } = pod;
  if (ip === undefined) return [];
  return pod.ports.flatMap(({ port, protocol, host }) => {
    if (host === undefined) return [];
    const only = host.ip === undefined ? {} : { ip: host.ip };
    return [{ key: `${node}:${host.port}/${protocol}`, pod: { ...pod, ip }, port, ...only }];
  });
}

function matchesOf(service: EchoService): readonly { readonly key: string; readonly match: Match }[] {
  const { clusterIp, externalIps } = service;
  const external = externalAddresses(service);
  return service.ports.flatMap((port) => {
    const known = new Memo<ServiceNames, ServiceRules['names']>();
    const names = (rules: ServiceRules) => known.get(rules.names, () => rules.names(service, port));
    const id = `${service.name}:${port.name}/${port.protocol}`;
    const at = (address: string, role: Match['role'], number = port.port) => ({
      key: `${address}:${number}/${port.protocol}`,
      match: { role, service, port, id, names },
    });
    return [
      ...(clusterIp === undefined ? [] : [at(clusterIp, 'cluster-ip')]),
      ...external.filter((ip) => externalIps.includes(ip)).map((ip) => at(ip, 'external-ip')),
      ...service.loadBalancerIps
        .filter((ip) => service.proxiedIps?.includes(ip) !== true)
        .map((ip) => at(ip, 'load-balancer-ip')),
      ...(port.nodePort === undefined ? [] : [at('', 'node-port', port.nodePort)]),
    ];
  });
}

/** "echo-server1", or the address of an endpoint that is no pod. */
export function endpointName({ pod, ip }: Endpoint): string {
  return pod ?? ip;
}
