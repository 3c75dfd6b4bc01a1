import { routerPeers } from '../bgp/checks/expected.ts';
import type { LabPlan } from '../plan/types.ts';
import type { EchoService, Endpoints } from './endpoints.ts';
import { expectExternalIp } from './expect-external-ip.ts';
import { expectNodePort } from './expect-node-port.ts';
import { hasRoute, machineNamed, nodeOf } from './network.ts';
import { fails, noRoute, ownAddress, works } from './outcomes.ts';
import type { Expectation, Outcome, Target, VantagePoint } from './types.ts';

/**
 * How a machine outside the cluster fails to resolve a cluster name. The lab's machines have no name server, and a stub
 * resolver without an answer cannot say that a name does not exist (seen with probe.py in a network namespace: empty
 * resolv.conf, one with a silent server and one with an unroutable server all give dns-error, none dns-nxdomain).
 */
export const MACHINE_DNS_OUTCOME: Outcome = 'dns-error';

/**
 * Predicts one connection from observed state. Pure. Follows kube-proxy 1.20 in iptables mode with clusterCIDR set
 * (pkg/proxy/iptables/proxier.go), the pod network's masquerading of traffic that leaves the pod CIDR, and what the
 * nodes announce over BGP.
 */
export function expect(plan: LabPlan, endpoints: Endpoints, from: VantagePoint, target: Target): Expectation {
  switch (target.kind) {
    case 'pod':
      return expectPods(plan, endpoints, from, target.pods ?? []);
    case 'name':
      return expectName(plan, endpoints, from, target.pods ?? []);
    case 'cluster-ip':
      return expectClusterIp(plan, from, target, serviceOf(endpoints, target));
    case 'node-port':
      return expectNodePort(plan, endpoints, from, target, serviceOf(endpoints, target));
    case 'external-ip':
      return expectExternalIp(plan, endpoints, from, target, serviceOf(endpoints, target));
  }
}

function serviceOf(endpoints: Endpoints, target: Target): EchoService {
  const service = endpoints.services.find(({ name }) => name === target.service);
  if (service === undefined) throw new Error(`${target.to}: there is no service ${target.service}`);
  return service;
}

function expectPods(
  plan: LabPlan,
  endpoints: Endpoints,
  from: VantagePoint,
  pods: readonly string[],
): Expectation {
  switch (from.kind) {
    case 'node':
      return works(
        pods,
        ownAddress(from),
        `${from.name} has a route to every pod: its own over their veths, the others over BGP; nothing is translated.`,
      );
    case 'pod':
      return works(pods, ownAddress(from), 'Pods reach each other by address, and nothing is translated.');
    case 'router':
    case 'client': {
      if (from.kind === 'client' && pods.some((pod) => !hasRoute(machineNamed(plan, from.name), pod)))
        return noRoute(from);
      const peers = routerPeers(plan).map(({ name }) => name);
      if (pods.some((pod) => !peers.includes(nodeOf(endpoints, pod) ?? '')))
        return fails('no-route', `No node announces this pod's block to the router.`);
      return works(
        pods,
        ownAddress(from),
        `The router sends the packet to the node that announces the pod's block; nothing is translated.`,
      );
    }
  }
}

function expectName(
  plan: LabPlan,
  endpoints: Endpoints,
  from: VantagePoint,
  pods: readonly string[],
): Expectation {
  if (from.kind !== 'pod')
    return fails(
      MACHINE_DNS_OUTCOME,
      `Only pods use the cluster's DNS; ${from.name} has no name server at all.`,
    );
  const reached = expectPods(plan, endpoints, from, pods);
  const why =
    pods.length > 1
      ? 'A headless name resolves to the addresses of all its ready pods, and the client takes one of them.'
      : `A pod's own name under a headless service resolves to that pod's address.`;
  return { ...reached, why };
}

function expectClusterIp(plan: LabPlan, from: VantagePoint, target: Target, service: EchoService) {
  if (from.kind === 'client' && !hasRoute(machineNamed(plan, from.name), target.address))
    return noRoute(from);
  if (service.backends.length === 0) return noBackend(from, target);
  switch (from.kind) {
    case 'node':
      return works(
        service.backends,
        ownAddress(from),
        `kube-proxy on ${from.name} picks any ready pod and masquerades, because the source is no pod.`,
      );
    case 'pod':
      return works(
        service.backends,
        ownAddress(from),
        `kube-proxy on ${from.node} picks any ready pod; a pod's source address is kept.`,
      );
    case 'router':
    case 'client':
      return works(
        service.backends,
        routerPeers(plan).map(({ address }) => address),
        'The router sends the packet to any worker, for all announce the service CIDR; that worker picks any ready pod and masquerades with its own address.',
      );
  }
}

/**
 * A ClusterIP without a ready endpoint is rejected with ICMP port unreachable. On the node itself the rule sits in the
 * OUTPUT chain, where a UDP sender gets EPERM instead.
 */
function noBackend(from: VantagePoint, { protocol }: Target): Expectation {
  return from.kind === 'node' && protocol === 'udp'
    ? fails(
        'denied',
        'The service has no ready pod, so kube-proxy rejects the packet before it leaves the node.',
      )
    : fails('refused', 'The service has no ready pod, so kube-proxy rejects the connection.');
}
