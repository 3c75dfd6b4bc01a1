import { routerPeers } from '../bgp/checks/expected.ts';
import type { LabPlan } from '../plan/types.ts';
import type { EchoService, Endpoints } from './endpoints.ts';
import { announcersOfIp, backendsOn, hasRoute, machineNamed } from './network.ts';
import { fails, noRoute, ownAddress, works } from './outcomes.ts';
import type { Expectation, Target, VantagePoint } from './types.ts';

/**
 * Predicts a connection to a service's external IP. Two things meet here. BGP: an announcing node holds a blackhole for
 * the /32, every other node a route to the announcing ones. kube-proxy 1.20: its rule for spec.externalIPs handles what
 * comes in from a pod or from another machine, before any route is looked up, but not what the node itself sends.
 */
export function expectExternalIp(
  plan: LabPlan,
  endpoints: Endpoints,
  from: VantagePoint,
  target: Target,
  service: EchoService,
): Expectation {
  const announcers = announcersOfIp(plan, endpoints, target.address);
  switch (from.kind) {
    case 'node':
      return fromNode(endpoints, from, announcers, service);
    case 'pod':
      return fromPod(plan, from, announcers, service);
    case 'client':
      if (!hasRoute(machineNamed(plan, from.name), target.address)) return noRoute(from);
      return throughRouter(plan, endpoints, from, announcers, service);
    case 'router':
      return throughRouter(plan, endpoints, from, announcers, service);
  }
}

function fromNode(
  endpoints: Endpoints,
  from: VantagePoint,
  announcers: readonly string[],
  service: EchoService,
): Expectation {
  if (announcers.includes(from.name))
    return fails(
      'no-route',
      `${from.name} announces this address and therefore holds a blackhole route for it, which its own processes run into (EINVAL).`,
    );
  if (announcers.length === 0)
    return fails('no-route', 'No node announces this address, and there is no default route.');
  return works(
    announcers.flatMap((node) => backendsOn(endpoints, service, node)),
    ownAddress(from),
    `${from.name} learned the address by BGP from the announcing nodes; the one it picks answers from its own pod and keeps the client's address.`,
  );
}

function fromPod(
  plan: LabPlan,
  from: VantagePoint & { readonly kind: 'pod' },
  announcers: readonly string[],
  service: EchoService,
): Expectation {
  if (service.backends.length === 0)
    return announcers.length === 0
      ? fails(
          'no-route',
          `The service has no ready pod, so nobody announces the address and ${from.node} has no route.`,
        )
      : fails(
          'timeout',
          `The service has no ready pod, and the announced address ends in ${from.node}'s blackhole.`,
        );
  return service.policy === 'Cluster'
    ? works(
        service.backends,
        [machineNamed(plan, from.node).address],
        `With externalTrafficPolicy Cluster ${from.node} picks any ready pod and masquerades with its own address, also for its own pods.`,
      )
    : works(
        service.backends,
        ownAddress(from),
        `${from.node} treats its own pods like clients of the ClusterIP: any ready pod, source address kept.`,
      );
}

function throughRouter(
  plan: LabPlan,
  endpoints: Endpoints,
  from: VantagePoint,
  announcers: readonly string[],
  service: EchoService,
): Expectation {
  const nextHops = routerPeers(plan).filter(({ name }) => announcers.includes(name));
  if (nextHops.length === 0)
    return fails(
      'no-route',
      'No worker announces this address to the router, which has no other route to it.',
    );
  if (service.backends.length === 0)
    return fails(
      'timeout',
      `The service has no ready pod, and the address ends in the announcing node's blackhole.`,
    );
  if (service.policy === 'Cluster')
    return works(
      service.backends,
      nextHops.map(({ address }) => address),
      'The router spreads connections over all announcing nodes; the one chosen picks any ready pod and masquerades with its own address.',
    );
  return works(
    nextHops.flatMap(({ name }) => backendsOn(endpoints, service, name)),
    ownAddress(from),
    `The router spreads connections over the nodes with a ready pod; each answers from its own pod and keeps the client's address.`,
  );
}
