import { type Announcement, nodesOf } from '../bgp/checks/expected.ts';
import type { BgpObservation } from '../bgp/checks/observe.ts';
import { routeTable } from '../bgp/checks/tables.ts';
import { type LabPlan, machinesOf } from '../plan/types.ts';
import { contains, parseCidr } from '../shared/ip.ts';
import { type EchoService, type Endpoints, externalAddresses } from './endpoints.ts';
import type { ObservedState } from './state/types.ts';

/** True if the prefix contains the address. */
export function covers(prefix: string, address: string): boolean {
  const cidr = parseCidr(prefix);
  return cidr !== undefined && contains(cidr, address);
}

/** True if the service has a ready endpoint on the node. */
function hasBackendOn(service: EchoService, node: string): boolean {
  return service.endpoints.some((endpoint) => endpoint.ready && endpoint.node === node);
}

/**
 * The nodes that announce the service's external IPs. With policy Cluster every node does. With policy Local a node
 * does while it has a ready endpoint; the `bird` CNI learns that from the healthCheckNodePort (bird/announcer.py), so a
 * Local service without one is not announced there. Calico asks for endpoints itself, of a service that has a ClusterIP,
 * and some versions count those that are not ready (confd's routes.go). Only addresses within the plan's external
 * prefixes are announced.
 */
export function announcersOf(plan: LabPlan, service: EchoService): readonly string[] {
  const nodes = nodesOf(plan).map(({ name }) => name);
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

/** The nodes that announce one external IP, whichever service it belongs to. */
export function announcersOfIp(plan: LabPlan, endpoints: Endpoints, ip: string): readonly string[] {
  if (!plan.bgp.externalPrefixes.some((prefix) => covers(prefix, ip))) return [];
  const announcing = endpoints.services
    .filter((service) => externalAddresses(service).includes(ip))
    .flatMap((service) => announcersOf(plan, service));
  return nodesOf(plan)
    .map(({ name }) => name)
    .filter((name) => announcing.includes(name));
}

/**
 * Every external /32 of the namespace's services with the nodes that announce it, and with Calico the pod blocks and the
 * single ClusterIPs: what the BGP checks expect.
 */
export function announcements(plan: LabPlan, endpoints: Endpoints): readonly Announcement[] {
  const ips = [...new Set([plan.echo.externalIp, ...endpoints.services.flatMap(externalAddresses)])];
  const external = ips.map((ip) => ({ prefix: `${ip}/32`, nodes: announcersOfIp(plan, endpoints, ip) }));
  return plan.choices.cni.value === 'calico' ? [...external, ...ofCalico(plan, endpoints)] : external;
}

function ofCalico(plan: LabPlan, { services, podBlocks = [] }: Endpoints): readonly Announcement[] {
  return [
    ...podBlocks.map(({ prefix, node }): Announcement => ({ of: 'pods', prefix, nodes: [node] })),
    ...services.flatMap((service): Announcement[] =>
      service.clusterIp === undefined || service.policy !== 'Local'
        ? []
        : [{ of: 'cluster-ip', prefix: `${service.clusterIp}/32`, nodes: announcersOf(plan, service) }],
    ),
  ];
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
