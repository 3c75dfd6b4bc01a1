import { nodesOf } from '../bgp/checks/expected.ts';
import type { LabPlan } from '../plan/types.ts';
import { machinesOf } from '../plan/types.ts';
import type { EchoService, Endpoints } from './endpoints.ts';
import { serverPods } from './endpoints.ts';
import { expect } from './expect.ts';
import type { Cell, Protocol, Target, VantagePoint } from './types.ts';
import { CLIENT_POD_CHECK } from './workloads.ts';

/** The whole matrix: every vantage point to every target, each cell with its expectation. Ids are unique. */
export function buildCells(plan: LabPlan, endpoints: Endpoints): readonly Cell[] {
  const targets = buildTargets(plan, endpoints);
  return vantagePoints(plan, endpoints).flatMap((from) =>
    targets.map(
      (target): Cell => ({
        id: `${from.name}>${target.to}:${target.port}/${target.protocol}`,
        from: from.name,
        ...target,
        expected: expect(plan, endpoints, from, target),
        ...(from.kind === 'pod' && from.address === undefined ? { blockedBy: CLIENT_POD_CHECK } : {}),
      }),
    ),
  );
}

/** Where connections start: the nodes, the client pod, the router and the clients, in plan order. */
export function vantagePoints(plan: LabPlan, endpoints: Endpoints): readonly VantagePoint[] {
  const machines = (kind: 'node' | 'router' | 'client', ...roles: Parameters<typeof machinesOf>[1][]) =>
    machinesOf(plan, ...roles).map(({ name, address }): VantagePoint => ({ kind, name, address }));
  const pod = endpoints.pods.find(({ name }) => name === plan.echo.clientPod.pod);
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

/** Where connections go: pods, headless names, ClusterIPs, node ports on every node, external IPs. */
export function buildTargets(plan: LabPlan, endpoints: Endpoints): readonly Target[] {
  const services = endpoints.services;
  return [
    ...podTargets(plan, endpoints),
    ...services.flatMap((service) => nameTargets(plan, endpoints, service)),
    ...services.flatMap(clusterIpTargets),
    ...services.flatMap((service) => nodePortTargets(plan, service)),
    ...services.flatMap(externalIpTargets),
  ];
}

function echoPorts(plan: LabPlan): readonly { port: number; protocol: Protocol }[] {
  return [
    { port: plan.echo.tcpPort, protocol: 'tcp' },
    { port: plan.echo.udpPort, protocol: 'udp' },
  ];
}

function podTargets(plan: LabPlan, endpoints: Endpoints): Target[] {
  return echoPorts(plan).flatMap((port) =>
    serverPods(endpoints).map(
      ({ name, ip }): Target => ({ kind: 'pod', to: `pod/${name}`, address: ip, ...port, pods: [ip] }),
    ),
  );
}

/** The service's own name, and one name per ready pod that has a hostname and this service as its subdomain. */
function nameTargets(plan: LabPlan, endpoints: Endpoints, service: EchoService): Target[] {
  if (service.clusterIp !== undefined || service.backends.length === 0) return [];
  const domain = `${plan.echo.namespace}.svc.${plan.kubernetes.domain}`;
  const named = serverPods(endpoints).filter(
    ({ hostname, subdomain, ip }) =>
      hostname !== undefined && subdomain === service.name && service.backends.includes(ip),
  );
  const names = [
    { name: service.name, pods: service.backends },
    ...named.map(({ hostname, ip }) => ({ name: `${hostname}.${service.name}`, pods: [ip] })),
  ];
  return echoPorts(plan).flatMap((port) =>
    names.map(
      ({ name, pods }): Target => ({
        kind: 'name',
        to: name,
        address: `${name}.${domain}`,
        ...port,
        service: service.name,
        pods,
      }),
    ),
  );
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

function nodePortTargets(plan: LabPlan, { name, ports }: EchoService): Target[] {
  return ports.flatMap(({ nodePort, protocol }) =>
    nodePort === undefined
      ? []
      : nodesOf(plan).map(
          (node): Target => ({
            kind: 'node-port',
            to: `${name}/${node.name}`,
            address: node.address,
            port: nodePort,
            protocol,
            service: name,
            node: node.name,
          }),
        ),
  );
}

function externalIpTargets({ name, externalIps, ports }: EchoService): Target[] {
  return externalIps.flatMap((ip) =>
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
