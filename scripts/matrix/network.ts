import type { Announcement } from '../bgp/checks/expected.ts';
import { nodesOf } from '../bgp/checks/expected.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { contains, parseCidr } from '../shared/ip.ts';
import type { EchoService, Endpoints } from './endpoints.ts';

/** The machine of that name. Throws where the plan has none: names reach us from the cluster. */
export function machineNamed(plan: LabPlan, name: string): MachinePlan {
  const machine = plan.machines.find((each) => each.name === name);
  if (machine === undefined) throw new Error(`the plan has no machine ${name}`);
  return machine;
}

/** True if one of the machine's static routes covers the address. */
export function hasRoute(machine: MachinePlan, address: string): boolean {
  return machine.routes.some(({ to }) => covers(to, address));
}

/** True if the prefix contains the address. */
export function covers(prefix: string, address: string): boolean {
  const cidr = parseCidr(prefix);
  return cidr !== undefined && contains(cidr, address);
}

/** The service's ready endpoints on one node. */
export function backendsOn(endpoints: Endpoints, service: EchoService, node: string): readonly string[] {
  return service.backends.filter((ip) => nodeOf(endpoints, ip) === node);
}

/** The node that the pod with this address runs on. */
export function nodeOf(endpoints: Endpoints, ip: string): string | undefined {
  return endpoints.pods.find((pod) => pod.ip === ip)?.node;
}

/**
 * The nodes that announce the service's external IPs. With policy Cluster every node does. With policy Local a node
 * does while it has a ready endpoint; the `bird` CNI learns that from the healthCheckNodePort (bird/announcer.py), so a
 * Local service without one is not announced there. Only addresses within the plan's external prefixes are announced.
 */
export function announcersOf(plan: LabPlan, endpoints: Endpoints, service: EchoService): readonly string[] {
  const nodes = nodesOf(plan).map(({ name }) => name);
  if (service.policy === 'Cluster') return nodes;
  if (plan.choices.cni.value === 'bird' && service.healthCheckNodePort === undefined) return [];
  return nodes.filter((node) => backendsOn(endpoints, service, node).length > 0);
}

/** The nodes that announce one external IP, whichever service it belongs to. */
export function announcersOfIp(plan: LabPlan, endpoints: Endpoints, ip: string): readonly string[] {
  if (!plan.bgp.externalPrefixes.some((prefix) => covers(prefix, ip))) return [];
  const announcing = endpoints.services
    .filter(({ externalIps }) => externalIps.includes(ip))
    .flatMap((service) => announcersOf(plan, endpoints, service));
  return nodesOf(plan)
    .map(({ name }) => name)
    .filter((name) => announcing.includes(name));
}

/** Every external /32 of the namespace's services with the nodes that announce it: what the BGP checks expect. */
export function announcements(plan: LabPlan, endpoints: Endpoints): readonly Announcement[] {
  const ips = [...new Set([plan.echo.externalIp, ...endpoints.services.flatMap((each) => each.externalIps)])];
  return ips.map((ip) => ({ prefix: `${ip}/32`, nodes: announcersOfIp(plan, endpoints, ip) }));
}
