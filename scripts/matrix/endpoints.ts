import type { CalicoSettings, PodBlock } from '../bgp/calico/settings.ts';
import type { LabPlan } from '../plan/types.ts';
import type { PortProtocol } from './types.ts';

/**
 * The services and pods of all namespaces: what the API server says, not what a manifest wished. `name` is NAME in the
 * lab's own namespace and NAMESPACE/NAME elsewhere, so that two are never the same.
 */
export interface Endpoints {
  readonly services: readonly EchoService[];
  readonly pods: readonly EchoPod[];
  /** Services of type ExternalName. */
  readonly externalNames?: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly target: string;
  }[];
  /** Cluster DNS answers 10-0-0-1.NAMESPACE.pod.DOMAIN. */
  readonly podRecords?: boolean;
  /** With Calico only: the blocks that its IPAM has given to nodes. */
  readonly podBlocks?: readonly PodBlock[];
  /** What Calico's own objects set; absent without Calico. */
  readonly calico?: CalicoSettings;
  readonly nodes?: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>> }[];
}

export interface EchoService {
  readonly name: string;
  readonly namespace: string;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  /** Absent for a headless service. */
  readonly clusterIp?: string;
  readonly ports: readonly ServicePort[];
  /** The status that its web servers must give GET /, where an annotation says so. */
  readonly httpStatus?: number;
  /** spec.externalIPs. */
  readonly externalIps: readonly string[];
  /** The addresses of status.loadBalancer.ingress. */
  readonly loadBalancerIps: readonly string[];
  /** Those of them with ipMode Proxy, which kube-proxy leaves to the load balancer. */
  readonly proxiedIps?: readonly string[];
  /** A LoadBalancer service without any address. */
  readonly isPending?: true;
  /** spec.loadBalancerSourceRanges; empty: everybody. */
  readonly sourceRanges: readonly string[];
  readonly policy: Policy;
  /** For the ClusterIP only; Kubernetes 1.21 and later have it. */
  readonly internalPolicy: Policy;
  /** Its annotation asks for topology hints (needed by Kubernetes 1.24 to 1.30). */
  readonly asksForZones?: boolean;
  readonly affinity: 'None' | 'ClientIP';
  /** Where kube-proxy says whether the node has a ready endpoint: type LoadBalancer with policy Local only. */
  readonly healthCheckNodePort?: number;
  /** All of them, ready or not. */
  readonly endpoints: readonly Endpoint[];
  /** Addresses of the ready endpoints. */
  readonly backends: readonly string[];
}

export type Policy = 'Local' | 'Cluster';

export interface ServicePort {
  /** Part of the iptables chains' names; '' for the only port of a service, which needs none. */
  readonly name: string;
  readonly port: number;
  readonly protocol: PortProtocol;
  readonly nodePort?: number;
  /** Web servers are behind it. */
  readonly isHttp?: true;
}

/** One address of an EndpointSlice. */
export interface Endpoint {
  readonly ip: string;
  readonly node?: string;
  readonly pod?: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Zones that topology hints keep it for; empty: no hints. */
  readonly zones: readonly string[];
  /** Nodes that hints keep it for (trafficDistribution PreferSameNode); empty: no hints. */
  readonly hintedNodes: readonly string[];
  /** By the name of the service's port. */
  readonly ports: Readonly<Record<string, number>>;
}

export interface EchoPod {
  readonly name: string;
  readonly namespace: string;
  /** Absent until the pod has an address. */
  readonly ip?: string;
  readonly node?: string;
  readonly hostname?: string;
  readonly subdomain?: string;
  /** False for a pod that is being deleted. */
  readonly ready: boolean;
  readonly isDeleted?: true;
  /** The pod lives in its node's network and has its address. */
  readonly hostNetwork: boolean;
  readonly usesClusterDns: boolean;
  /** It is not the lab's own echo server, so it does not speak echo. */
  readonly isForeign?: true;
  /** Ports that its containers declare. */
  readonly ports: readonly PodPort[];
}

export interface PodPort {
  readonly port: number;
  readonly protocol: PortProtocol;
  /** A web server listens on it. */
  readonly isHttp?: true;
  /** The port of the node that leads to it. Absent in the node's own network, where both are one. */
  readonly host?: { readonly port: number /** Absent: any of the node's addresses. */; readonly ip?: string };
}

/** A name without its namespace. */
export function bareName(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}

/** Kubernetes' own namespaces and those of what makes its network. */
const OWN_NAMESPACES = /^(kube-|calico-|tigera-)/;

/** True for what Kubernetes and its network have for themselves. */
export function isKubernetesOwn({ namespace, name }: Pick<EchoService, 'namespace' | 'name'>): boolean {
  return OWN_NAMESPACES.test(namespace) || name === 'default/kubernetes';
}

/** The same with the services and pods alone that get cells, those of the lab's own namespace first. */
export function tested<T extends Pick<Endpoints, 'services' | 'pods' | 'externalNames'>>(
  { echo, test }: Pick<LabPlan, 'echo' | 'test'>,
  endpoints: T,
): T {
  const chosen = <S extends Pick<EchoService, 'namespace' | 'name'>>(all: readonly S[]) => {
    const some = all.filter((each) => test?.namespaces?.includes(each.namespace) ?? !isKubernetesOwn(each));
    const isHome = ({ namespace }: S) => namespace === echo.namespace;
    return [...some.filter(isHome), ...some.filter((each) => !isHome(each))];
  };
  const { services, pods, externalNames = [] } = endpoints;
  return {
    ...endpoints,
    services: chosen(services),
    pods: chosen(pods),
    externalNames: chosen(externalNames),
  };
}

/** Every address that a service has beyond its ClusterIP, each once. */
export function externalAddresses({ externalIps, loadBalancerIps }: EchoService): readonly string[] {
  return [...new Set([...externalIps, ...loadBalancerIps])];
}

/** The ready pods behind at least one service, by name: those that a probe can reach. */
export function serverPods(endpoints: Endpoints): readonly (EchoPod & { readonly ip: string })[] {
  const backends = new Set(
    endpoints.services.flatMap((service) =>
      service.endpoints.filter(({ ready }) => ready).map(({ pod, ip }) => pod ?? ip),
    ),
  );
  return endpoints.pods.filter(
    (pod): pod is EchoPod & { readonly ip: string } =>
      pod.ip !== undefined && (backends.has(pod.name) || (!pod.hostNetwork && backends.has(pod.ip))),
  );
}
