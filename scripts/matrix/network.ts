import { type Announcement, nodesOf } from '../bgp/checks/expected.ts';
import type { BgpObservation } from '../bgp/checks/observe.ts';
import { routeTable } from '../bgp/checks/tables.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import { contains, parseCidr } from '../shared/ip.ts';
import { type EchoService, type Endpoints, externalAddresses } from './endpoints.ts';
import type { ObservedState } from './state/types.ts';

/** True if the prefix contains the address. */
function covers(prefix: string, address: string): boolean {
  const cidr = parseCidr(prefix);
  return cidr !== undefined && contains(cidr, address);
}

/** True if the service has a ready endpoint on the node. */
function hasBackendOn(service: EchoService, node: string): boolean {
  return service.endpoints.some((endpoint) => endpoint.ready && endpoint.node === node);
}

/** Calico takes a node with this label out of load balancing; kubeadm writes it with an empty value, which does not count. */
const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** The nodes that may announce service addresses, in plan order. */
function eligibleNodes(plan: LabPlan, { nodes = [] }: Endpoints): readonly string[] {
  const excluded = nodes.filter(({ labels }) => labels[EXCLUDED] === 'true').map(({ name }) => name);
  return nodesOf(plan)
    .map(({ name }) => name)
    .filter((name) => !excluded.includes(name));
}

/**
 * Those of the given nodes that announce the service's external IPs. With policy Cluster every node does. With policy Local a node
 * does while it has a ready endpoint; the `bird` CNI learns that from the healthCheckNodePort (bird/announcer.py), so a
 * Local service without one is not announced there. Calico asks for endpoints itself, of a service that has a ClusterIP,
 * and some versions count those that are not ready (confd's routes.go).
 */
export function announcersOf(
  plan: LabPlan,
  service: EchoService,
  nodes: readonly string[] = nodesOf(plan).map(({ name }) => name),
): readonly string[] {
  if (plan.choices.cni.value === 'bird') {
    if (service.policy === 'Cluster') return nodes;
    if (service.healthCheckNodePort === undefined) return [];
    return nodes.filter((node) => hasBackendOn(service, node));
  }
  if (service.clusterIp === undefined) return [];
  if (service.policy === 'Cluster') return nodes;
  return nodes.filter(
    (node) =>
      hasBackendOn(service, node) ||
      (countsUnready(plan.calico?.version) && service.endpoints.some((endpoint) => endpoint.node === node)),
  );
}

/**
 * Calico up to 3.31.6, and 3.32.0 and 3.32.1, announce a Local service from a node whose endpoint is not ready, too
 * (fixed by projectcalico/calico PRs 13246, 13253 and 13255).
 */
function countsUnready(version = ''): boolean {
  const [major = 0, minor = 0, patch = 0] = version.replace(/^v/, '').split(/[.-]/).map(Number);
  if (major !== 3 || minor > 32) return false;
  return minor === 32 ? patch < 2 : minor < 31 || patch < 7;
}

/** The nodes that announce one external IP as a /32, whichever service it belongs to. */
export function announcersOfIp(plan: LabPlan, endpoints: Endpoints, ip: string): readonly string[] {
  const eligible = eligibleNodes(plan, endpoints);
  const announcing = endpoints.services
    .filter((service) => isAnnounced(plan, endpoints, service, ip))
    .flatMap((service) => announcersOf(plan, service, eligible));
  return eligible.filter((name) => announcing.includes(name));
}

/** Whether a service's address is one that nodes announce by itself. */
function isAnnounced(plan: LabPlan, { calico }: Endpoints, service: EchoService, ip: string): boolean {
  const { externalIps, loadBalancerIps, policy } = service;
  const covering = (prefixes: readonly string[]) => prefixes.filter((prefix) => covers(prefix, ip));
  if (calico === undefined)
    return externalAddresses(service).includes(ip) && covering(plan.bgp.externalPrefixes).length > 0;
  // Calico announces a wider prefix as a whole, and of its addresses those of Local services besides.
  const alone = (prefixes: readonly string[], isWhole: boolean) =>
    covering(prefixes).some((prefix) => policy === 'Local' || !isWhole || prefix.endsWith('/32'));
  return (
    (externalIps.includes(ip) && alone(calico.serviceExternalIps, true)) ||
    (loadBalancerIps.includes(ip) && alone(calico.serviceLoadBalancerIps, calico.aggregatesLoadBalancers))
  );
}

/**
 * What services have announced, with the nodes that do: every external /32, the service CIDR, and with Calico prefixes of
 * external addresses, the pod blocks and the single ClusterIPs. What the BGP checks expect.
 */
export function announcements(plan: LabPlan, endpoints: Endpoints): readonly Announcement[] {
  const { services, podBlocks = [], calico } = endpoints;
  const ips = [...new Set([plan.echo.externalIp, ...services.flatMap(externalAddresses)])];
  const external = ips.map((ip) => ({ prefix: `${ip}/32`, nodes: announcersOfIp(plan, endpoints, ip) }));
  const eligible = eligibleNodes(plan, endpoints);
  const cidrs = calico?.serviceClusterIps ?? [plan.kubernetes.serviceCidr];
  const clusterIps = [...new Set([plan.kubernetes.serviceCidr, ...cidrs])].map(
    (prefix): Announcement => ({ of: 'service-cidr', prefix, nodes: cidrs.includes(prefix) ? eligible : [] }),
  );
  if (plan.choices.cni.value !== 'calico') return [...external, ...clusterIps];
  const pools = [
    ...(calico?.serviceExternalIps ?? []),
    ...(calico?.aggregatesLoadBalancers === true ? calico.serviceLoadBalancerIps : []),
  ].filter((prefix) => !prefix.endsWith('/32'));
  return [
    ...external,
    ...[...new Set(pools)].map((prefix) => ({ prefix, nodes: eligible })),
    ...clusterIps,
    ...podBlocks.map(
      ({ prefix, node }): Announcement => ({
        of: 'pods',
        prefix,
        nodes: [node],
        ...(isEncapsulated(endpoints, prefix) ? { isEncapsulated: true } : {}),
      }),
    ),
    ...services.flatMap((service): Announcement[] => {
      const { clusterIp, policy } = service;
      if (clusterIp === undefined || policy !== 'Local' || !cidrs.some((cidr) => covers(cidr, clusterIp)))
        return [];
      const nodes = announcersOf(plan, service, eligible);
      return [{ of: 'cluster-ip', prefix: `${clusterIp}/32`, nodes }];
    }),
  ];
}

/**
 * Felix makes the routes of a VXLAN pool, with CrossSubnet too, and every node's BIRD then offers the router all of them (seen on
 * Calico 3.32). Those of IP in IP are BIRD's, and with CrossSubnet as without it within a subnet, which all of a lab's nodes are in.
 */
function isEncapsulated({ calico }: Endpoints, block: string): boolean {
  const [address = ''] = block.split('/');
  const pool = calico?.pools.find(({ cidr }) => covers(cidr, address));
  return (pool !== undefined && pool.vxlan !== 'Never') || pool?.ipip === 'Always';
}

/** The plan with the sessions that are meant: without the mesh where Calico's configuration has switched it off. */
export function meantPlan(plan: LabPlan, { calico }: Endpoints): LabPlan {
  if (calico === undefined || calico.nodeMesh) return plan;
  return { ...plan, bgp: { ...plan.bgp, peerings: plan.bgp.peerings.filter(({ kind }) => kind !== 'ibgp') } };
}

/** The kernel tables of the machines that speak no BGP, for the checks that look at every machine. */
export function clientTables(
  plan: LabPlan,
  { machines }: ObservedState,
): ReadonlyMap<string, BgpObservation> {
  return new Map(
    machinesOf(plan, 'client').flatMap(({ name }): [string, BgpObservation][] => {
      const machine = machines.get(name);
      // What could not be read is told by the check of the state.
      if (machine === undefined || machine.problem !== undefined) return [];
      const value = routeTable(
        machine.routes.map(({ prefix, type, hops }) => ({
          prefix,
          nextHops: type === 'unicast' ? hops.map((hop) => hop.gateway ?? `dev ${hop.interface}`) : [type],
        })),
      );
      return [
        [
          name,
          { sessions: { ok: true, value: [] }, tables: [{ name: 'kernel', table: { ok: true, value } }] },
        ],
      ];
    }),
  );
}
