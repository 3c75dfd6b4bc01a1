import type { Endpoints } from '../endpoints.ts';
import type { PolicyObjects } from '../policy/policies.ts';

/**
 * Everything that expectations follow from, as it was seen: the cluster's objects as its API server tells them, and every
 * machine's addresses, routes and settings as its kernel tells them. Readonly and without references to the plan.
 */
export interface ObservedState extends ClusterState {
  /** By machine name. */
  readonly machines: ReadonlyMap<string, MachineState>;
}

/** What the API server says. */
export interface ClusterState extends Endpoints {
  readonly nodes: readonly NodeState[];
  readonly policies?: PolicyObjects;
  readonly proxy: ProxySettings;
  /** The cluster's DNS domain. */
  readonly domain: string;
}

export interface NodeState {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** kube-proxy's version without the leading v: "1.20.2", "1.30.1+k3s1". */
  readonly proxyVersion: string;
  /** What k3s was started with, which it writes down in an annotation; absent without k3s. */
  readonly k3sArguments?: readonly string[];
  /** Where its kube-proxy is set up in another way than ClusterState.proxy says. */
  readonly proxy?: ProxySettings;
}

/** kube-proxy's modes whose rules are known (expect/kube-proxy.ts). */
export const MODELLED_MODES: readonly string[] = ['iptables', 'nftables'];

/** kube-proxy's configuration, as far as it decides where a packet goes. */
export interface ProxySettings {
  /** iptables, ipvs, nftables ...; `unknown` where no configuration was found. */
  readonly mode: string;
  /** Where `unknown`: why. */
  readonly problem?: string;
  /** Absent where kube-proxy cannot tell pods from others by address: then it does not masquerade for ClusterIPs. */
  readonly clusterCidr?: string;
  /** What tells a pod's traffic from other traffic: ClusterCIDR unless set otherwise. */
  readonly detectLocalMode: string;
  /** For the modes that go by interfaces: the bridge, or what the names begin with. */
  readonly podInterface?: string;
  /** Prefixes of the addresses that node ports are served on; empty: all. */
  readonly nodePortAddresses: readonly string[];
  readonly masqueradeAll: boolean;
  readonly localhostNodePorts: boolean;
}

/** What one machine's kernel says. */
export interface MachineState {
  readonly name: string;
  /** Why nothing is known about it; everything else is empty then. */
  readonly problem?: string;
  /** Lines of its answers that no reader knows; what they say is left out. */
  readonly unread?: readonly string[];
  readonly interfaces: readonly Interface[];
  readonly routes: readonly Route[];
  /** Policy routing rules beyond the three that every machine has, in words of `ip rule`. */
  readonly policyRules: readonly string[];
  /** Prefixes that never follow the default route, but are refused where no other route is found. */
  readonly refusedPrefixes: readonly string[];
  readonly ipForward: boolean;
  /** net.ipv4.fib_multipath_hash_policy: 0 by addresses, 1 by addresses and ports. */
  readonly hashPolicy: number;
  readonly routeLocalnet: boolean;
  /** It has kube-proxy's rule that drops what conntrack calls INVALID from what it forwards. */
  readonly dropsInvalid?: boolean;
  /** The pod network's masquerading of what leaves it; absent where the machine has no such rule. */
  readonly natOutgoing?: NatOutgoing;
  /** The CNI plugin portmap's rules that masquerade what some sources send to a host port. */
  readonly hostPortMasquerades?: readonly HostPortMasquerade[];
  /** Calico's rules against service addresses that go round; absent where the machine has none. */
  readonly serviceLoop?: ServiceLoop;
  /** What Calico does with what the node's pods send to the node itself, before kube-proxy's rules; absent: nothing. */
  readonly podsToHost?: 'accept' | 'drop';
  /** By "ADDRESS:PORT/PROTOCOL" of external addresses: which service ports the node's rules lead there, in their order. */
  readonly externalOwners?: ReadonlyMap<string, readonly string[]>;
  /** kube-proxy's table in nftables; absent where it has none, or where the machine cannot list it. */
  readonly nftServices?: NftServices;
}

export interface Interface {
  readonly name: string;
  /** The largest packet that it takes, in bytes. */
  readonly mtu?: number;
  readonly addresses: readonly {
    readonly address: string;
    readonly length: number;
    readonly scope: string;
  }[];
}

export const ROUTE_TYPES = ['unicast', 'blackhole', 'unreachable', 'prohibit', 'other'] as const;

/** One route of the main table. */
export interface Route {
  /** "a.b.c.d/n" with its host bits cleared. */
  readonly prefix: string;
  readonly type: (typeof ROUTE_TYPES)[number];
  /** Who made it: bird, bgp, kernel, static, boot ... */
  readonly protocol: string;
  readonly metric: number;
  /** The source address that connections of the machine itself get; absent: the interface's. */
  readonly source?: string;
  /** Empty unless unicast. */
  readonly hops: readonly Hop[];
}

export interface Hop {
  /** Absent: the destination itself is on the link. */
  readonly gateway?: string;
  readonly interface: string;
  /** How often it is chosen beside the others; absent: 1. */
  readonly weight?: number;
  /** Its link has no carrier, and the kernel uses it all the same: what is sent there is lost. */
  readonly isDown?: true;
}

/** `-s SOURCE -p PROTOCOL --dport PORT -j CNI-HOSTPORT-SETMARK` in the chain of one pod. */
export interface HostPortMasquerade {
  readonly source: string;
  readonly protocol: string;
  readonly port: number;
}

/** `-s SOURCES ! -d EXCEPT -j MASQUERADE`, as the `bird` CNI and Calico have it. */
export interface NatOutgoing {
  readonly chain: string;
  readonly sources: readonly string[];
  readonly except: readonly string[];
  /** Why the rule's sets could not be read; sources and except are empty then. */
  readonly problem?: string;
}

/** What happens to a packet in FORWARD whose destination is in one of the prefixes, because nobody has translated it. */
export interface ServiceLoop {
  readonly action: 'drop' | 'reject';
  readonly prefixes: readonly string[];
  /** It comes before kube-proxy's own filter rules. */
  readonly isFirst: boolean;
  /** What it is called there; absent: in iptables. */
  readonly chains?: readonly string[];
}

/** "ADDRESS:PORT", and what part of new connections it gets, 0 to 1. */
export interface BackendShare {
  readonly backend: string;
  readonly share: number;
}

export interface NftServices {
  /** The backends that a chain leads to. */
  readonly backends: ReadonlyMap<string, readonly BackendShare[]>;
  /** In which an address that no service has is dropped. */
  readonly serviceCidrs: readonly string[];
}
