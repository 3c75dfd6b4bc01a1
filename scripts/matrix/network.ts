import type { Announcement } from '../bgp/checks/expected.ts';
import { nodesOf } from '../bgp/checks/expected.ts';
import type { LabPlan } from '../plan/types.ts';
import { contains, parseCidr } from '../shared/ip.ts';
import { type EchoService, type Endpoints, externalAddresses } from './endpoints.ts';

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
 * Local service without one is not announced there. Only addresses within the plan's external prefixes are announced.
 */
export function announcersOf(plan: LabPlan, service: EchoService): readonly string[] {
  const nodes = nodesOf(plan).map(({ name }) => name);
  if (service.policy === 'Cluster') return nodes;
  if (plan.choices.cni.value === 'bird' && service.healthCheckNodePort === undefined) return [];
  return nodes.filter((node) => hasBackendOn(service, node));
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

/** Every external /32 of the namespace's services with the nodes that announce it: what the BGP checks expect. */
export function announcements(plan: LabPlan, endpoints: Endpoints): readonly Announcement[] {
  const ips = [...new Set([plan.echo.externalIp, ...endpoints.services.flatMap(externalAddresses)])];
  return ips.map((ip) => ({ prefix: `${ip}/32`, nodes: announcersOfIp(plan, endpoints, ip) }));
}
