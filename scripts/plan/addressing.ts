import { type Cidr, nthAddress, nthBlock, parseCidr } from '../shared/ip.ts';
import type { CniName, LabSpec, MachineRole, MachineSpec } from '../spec/types.ts';
import { POD_BLOCK_LENGTH } from '../spec/validate.ts';
import type { LabPlan, PeeringPlan, RoutePlan } from './types.ts';

/** Cluster DNS has the tenth address of the service CIDR, by the convention that kubeadm follows too. */
const DNS_NUMBER = 10;
const API_PORT = 6443;

/** The gateway that Calico gives every pod (cni-plugin's dataplane/linux): nobody's address; the node answers for it. */
export const CALICO_GATEWAY = '169.254.1.1';

/** A prefix of a checked spec. Throws where the spec was not checked, which is a bug. */
export function checkedCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`not a checked prefix: ${text}`);
  return cidr;
}

/** True for machines that are nodes of the cluster. */
export function isNode(machine: { readonly role: MachineSpec['role'] }): boolean {
  return machine.role === 'control-plane' || machine.role === 'worker';
}

/** The pod block of every Kubernetes node, by name: consecutive blocks of the pod CIDR in machine order. */
export function podBlocks(spec: LabSpec): ReadonlyMap<string, string> {
  const podCidr = checkedCidr(spec.kubernetes.podCidr);
  const nodes = spec.machines.filter(isNode);
  return new Map(nodes.map(({ name }, index) => [name, nthBlock(podCidr, POD_BLOCK_LENGTH, index)]));
}

/** The address of cluster DNS. */
export function dnsAddress(spec: LabSpec): string {
  return nthAddress(checkedCidr(spec.kubernetes.serviceCidr), DNS_NUMBER);
}

/** Where the API server is reached, "192.168.13.30:6443". */
export function apiServerAt(address: string): string {
  return `${address}:${API_PORT}`;
}

/** The prefixes that belong to the lab alone, each with the key of lab.yaml that it comes from. */
export function namedPrefixes({
  kubernetes,
  bgp,
  echo,
}: LabPlan): readonly { readonly subject: string; readonly cidr: Cidr }[] {
  const of = (subject: string) => (text: string) => ({ subject, cidr: checkedCidr(text) });
  return [
    of('kubernetes.podCidr')(kubernetes.podCidr),
    of('kubernetes.serviceCidr')(kubernetes.serviceCidr),
    of('kubernetes.loadBalancerCidr')(kubernetes.loadBalancerCidr),
    of('echo.externalIp')(`${echo.externalIp}/32`),
    ...bgp.routerPrefixes.map(of('bgp.routerPrefixes')),
  ];
}

/** The prefixes of the external addresses that services have. */
export function externalPrefixes({ echo, kubernetes }: LabSpec): readonly string[] {
  return [`${echo.externalIp}/32`, kubernetes.loadBalancerCidr];
}

/**
 * The static routes of a machine, besides the connected one to the subnet. No machine has a default route.
 * A node finds service addresses on its own link, so that a connection from the node itself gets as far as kube-proxy's
 * rules in the OUTPUT chain, and with Calico the pods' gateway: a kernel answers a pod's ARP request (proxy_arp) only for
 * an address that it has a route to by another interface. A default route would do too; beside one this does no harm, as
 * no node sends anything there. A routed client sends all lab prefixes to the router, which learns its routes by BGP.
 */
export function routesOf(
  machine: MachineSpec,
  spec: LabSpec,
  routerAddress: string,
  cni: CniName,
): readonly RoutePlan[] {
  const { podCidr, serviceCidr } = spec.kubernetes;
  if (isNode(machine))
    return [{ to: serviceCidr }, ...(cni === 'calico' ? [{ to: `${CALICO_GATEWAY}/32` }] : [])];
  if (machine.role !== 'client' || machine.routed !== true) return [];
  const prefixes = [podCidr, serviceCidr, ...externalPrefixes(spec), ...spec.bgp.routerPrefixes];
  return prefixes.map((to) => ({ to, via: routerAddress }));
}

interface Speaker {
  readonly name: string;
  readonly role: MachineRole;
  readonly address: string;
}

/** All BGP sessions: a full iBGP mesh of the Kubernetes nodes, and eBGP from every worker to the router. */
export function peeringsOf(
  machines: readonly Speaker[],
  asns: { readonly clusterAsn: number; readonly routerAsn: number },
): readonly PeeringPlan[] {
  const end = ({ name, address, role }: Speaker) => ({
    machine: name,
    address,
    asn: role === 'router' ? asns.routerAsn : asns.clusterAsn,
  });
  const nodes = machines.filter(({ role }) => role === 'control-plane' || role === 'worker');
  const workers = nodes.filter(({ role }) => role === 'worker');
  const routers = machines.filter(({ role }) => role === 'router');
  const mesh = nodes.flatMap((a, index) =>
    nodes.slice(index + 1).map((b): PeeringPlan => ({ kind: 'ibgp', a: end(a), b: end(b) })),
  );
  const external = routers.flatMap((router) =>
    workers.map((worker): PeeringPlan => ({ kind: 'ebgp', a: end(router), b: end(worker) })),
  );
  return [...mesh, ...external];
}
