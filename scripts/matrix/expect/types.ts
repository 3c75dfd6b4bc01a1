import type { Address } from '../addresses.ts';
import type { EchoPod, EchoService, Endpoint, ServicePort } from '../endpoints.ts';
import type { Policies } from '../policy/policies.ts';
import type { Hop, MachineState, NodeState, ObservedState, Route } from '../state/types.ts';
import type { Outcome, Protocol } from '../types.ts';
import type { Memo } from './memo.ts';

/** The first packet of a connection at one machine, or one that conntrack knows already. */
export interface Packet {
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  readonly protocol: Protocol;
  /** conntrack knows its connection: no rule is asked, routes alone decide. */
  readonly isEstablished?: boolean;
  /** Rules that it has met want it dropped. */
  readonly drop?: LaterDrop;
  /** The machines that it came through. */
  readonly visited: readonly string[];
  /** Those of them that forwarded it with the source and destination that it has now. */
  readonly forwarders: readonly string[];
}

/**
 * What can become of a connection from one point on. `next` is what follows the decision taken here: nothing at an end, one
 * trace where all is certain, several where chance chooses. Traces are shared: several connections lead into one.
 */
export interface Trace {
  /** A machine, or pod/NAME. */
  readonly at: string;
  readonly decision: Decision;
  readonly next: readonly Trace[];
  /** All that can come of it, whatever chance chooses. */
  readonly outcomes: Outcomes;
}

export interface Outcomes {
  /** The addresses that may answer, and those that they may see, in order. */
  readonly servers: readonly Address[];
  readonly clients: readonly Address[];
  /** How it can end without an answer. */
  readonly ends: readonly Outcome[];
  readonly unknown?: Unknown;
}

/** What cannot be said, and whose fault that is. */
export interface Unknown {
  /** `not-observed`: a machine could not be looked at. `not-modelled`: looking again would not help. */
  readonly kind: 'not-modelled' | 'not-observed';
  readonly reason: string;
  /** not-observed only. */
  readonly machine?: string;
}

/** Where one hop of a route leads. */
export type NextHop =
  | { readonly kind: 'machine'; readonly machine: string; readonly gateway: Address | undefined }
  /** A pod of the machine itself. */
  | { readonly kind: 'pod' }
  /** Nothing on the link has the address. */
  | { readonly kind: 'nobody'; readonly address: Address };

/** Rules that a packet meets. */
export interface RuleMet {
  readonly chains: readonly string[];
  /** A chain that is not there, but would lead on if it were. */
  readonly missing?: string;
  readonly text: string;
}

/** What is decided at one point. */
export type Decision =
  /** The resolver gives these addresses, of which the client takes one. */
  | { readonly kind: 'name'; readonly name: string; readonly addresses: readonly Address[] }
  /** A pod's question to the cluster's DNS, which a policy stops. */
  | { readonly kind: 'question'; readonly server: Address }
  /** A pod sends to its node. */
  | { readonly kind: 'pod-route'; readonly node: string }
  | { readonly kind: 'own-address'; readonly address: Address }
  /** `hops` that the packet is sent by, one for each of `next`; empty where rules keep the packet. */
  | {
      readonly kind: 'route';
      readonly route: Route;
      readonly destination: Address;
      /** Of a machine's own packet: the rules of OUTPUT that it meets before it is sent, and that do not translate it. */
      readonly rule?: RuleMet;
      readonly hops: readonly NextHop[];
      /** fib_multipath_hash_policy, which chooses among several. */
      readonly hashPolicy: number;
    }
  /** The pod network's rule replaces the source. */
  | {
      readonly kind: 'masquerade';
      readonly chain: string;
      readonly source: Address;
      readonly instead: Address;
    }
  /** The CNI plugin portmap's rules lead a port of the node to a pod on it, and may replace the source. */
  | {
      readonly kind: 'host-port';
      readonly pod: EchoPod;
      readonly port: number;
      readonly source: Address;
      readonly instead?: Address;
    }
  /** Rules that the packet meets and that do not translate it. */
  | ({ readonly kind: 'rule' } & RuleMet)
  /** Rules choose one of several endpoints; each has a path of its own. */
  | {
      readonly kind: 'translate';
      readonly translation: Translation;
      readonly choices: BackendChoices;
      /** Where a client's answers go back to; absent for the node's own connection. */
      readonly client?: Address;
    }
  | { readonly kind: 'answer'; readonly by: AnsweredBy; readonly server: Address; readonly client: Address }
  /** What follows is answered, but the answer is lost. */
  | { readonly kind: 'lost-answer'; readonly cause: LostAnswer }
  | { readonly kind: 'end'; readonly cause: EndCause }
  /** `matches`: the service ports whose rules are not known, where it is for these. */
  | { readonly kind: 'unknown'; readonly matches: readonly Match[] };

export type AnsweredBy =
  | { readonly kind: 'pod'; readonly machine: string; readonly port: number }
  /** A pod in the network of its node. */
  | { readonly kind: 'host-pod'; readonly machine: string; readonly pod: string; readonly port: number }
  /** A ping is answered by the kernel of the machine, or of its pod. */
  | { readonly kind: 'kernel'; readonly machine: string }
  /** A pod that connects to itself. */
  | { readonly kind: 'itself' };

export type LostAnswer =
  | { readonly kind: 'no-route-back'; readonly client: Address }
  | ({ readonly kind: 'one-sided' } & OneSided);

/** A node that sees one direction of a connection only (one-sided.ts). */
export interface OneSided {
  readonly machine: string;
  /** The direction that it sees. */
  readonly sees: 'request' | 'answer';
  /** False where chance decides whether the other direction passes the node. */
  readonly certain: boolean;
}

export type EndCause =
  | { readonly kind: 'no-name-server'; readonly name: string }
  | { readonly kind: 'no-such-name'; readonly name: string }
  | { readonly kind: 'no-route'; readonly destination: Address; readonly isOwn: boolean }
  | {
      readonly kind: 'dead-route';
      readonly route: Route;
      readonly destination: Address;
      readonly isOwn: boolean;
      readonly dropReason?: string;
    }
  | { readonly kind: 'martian'; readonly source: Address }
  | { readonly kind: 'loop'; readonly visited: readonly string[] }
  | { readonly kind: 'not-forwarding' }
  | { readonly kind: 'nobody-on-link'; readonly address: Address }
  | { readonly kind: 'filtered'; readonly verdict: FilterVerdict }
  | {
      readonly kind: 'nothing-listens';
      readonly destination: Address;
      readonly port: number;
      readonly protocol: Protocol;
    };

/** The backends that one node's rules can choose for a source. */
export interface BackendChoices {
  /** Every one of them. Followed anew at each call: a thousand nodes with a hundred pods each are too many to keep. */
  readonly all: () => readonly BackendChoice[];
  readonly outcomes: Outcomes;
  /** Why some of them do not answer. */
  readonly failure?: BackendFailure;
  /** The first few, those of them on the node itself, and those to which a route has to lead. */
  readonly first: readonly BackendChoice[];
  readonly here: Some<BackendChoice>;
  readonly away: Some<BackendChoice>;
  /** Where policies stop some of them, each once. */
  readonly stops: readonly PolicyStop[];
  /** What becomes of the source. */
  readonly hows: readonly BackendChoice['how'][];
  /** The addresses that they see, in order. */
  readonly sources: readonly Address[];
  /** The names of the chains of the first few endpoints. */
  readonly endpointChains: readonly string[];
}

/** The first few of many. */
export interface Some<T> {
  readonly count: number;
  readonly first: readonly T[];
}

export interface BackendChoice {
  readonly endpoint: Endpoint;
  /** The machine that the endpoint is on. */
  readonly node: string;
  /** By routes, from the node that translates. */
  readonly path: Trace;
  /** The address that the endpoint sees. */
  readonly source: Address;
  readonly how: 'kept' | 'masqueraded' | 'hairpin' | 'nat-outgoing';
  /** The answer comes back through the node that translates. */
  readonly returns: boolean;
  readonly oneSided?: OneSided;
  readonly stop?: PolicyStop;
  /** Why it is not known what a policy does with it. */
  readonly problem?: string;
}

export type BackendFailure =
  | { readonly kind: 'no-route'; readonly endpoint: Endpoint; readonly outcome: Outcome }
  | { readonly kind: 'answer-past-translator'; readonly outcome: Outcome }
  | { readonly kind: 'one-sided'; readonly oneSided: OneSided; readonly outcome: Outcome }
  | ({ readonly kind: 'policy'; readonly outcome: Outcome } & PolicyStop);

/** Where a policy stops a connection. */
export interface PolicyStop {
  readonly at: string;
  readonly verdict: FilterVerdict;
}

/** The observed state with an index for every question that following a packet asks. */
export interface NetworkState {
  readonly state: ObservedState;
  /** undefined where nothing of that name was looked at. */
  machine(name: string): Machine | undefined;
  /** The machine that has the address on one of its interfaces. */
  ownerOf(address: Address): string | undefined;
  /** The node that the pod with this address runs on. */
  nodeOf(address: Address): string | undefined;
  /** True for an address in the pod network: that of a pod which is not in its node's network. */
  isPodAddress(address: Address): boolean;
  podsAt(address: Address): readonly EchoPod[];
  hostPodsOn(node: string): readonly EchoPod[];
  /** The pod of the node that a port of one of its addresses leads to, and the pod's own port. */
  hostPort(node: string, address: Address, port: number, protocol: Protocol): HostPort | undefined;
  service(name: string): EchoService | undefined;
  /** The service ports that have an address and port. */
  byAddress(address: Address, port: number, protocol: Protocol): readonly Match[];
  byNodePort(port: number, protocol: Protocol): Match | undefined;
  /** Absent where no policy is enforced. */
  readonly policies?: Policies;
  /** True for the ClusterIP of any service. */
  isClusterIp(address: Address): boolean;
  readonly memory: Memory;
}

export interface HostPort {
  readonly pod: EchoPod & { readonly ip: Address };
  readonly port: number;
}

/** What a service port is reached by. */
export interface Match {
  readonly role: 'cluster-ip' | 'external-ip' | 'load-balancer-ip' | 'node-port';
  readonly service: EchoService;
  readonly port: ServicePort;
  /** The same for every address of a service port, and for no other one. */
  readonly id: string;
  /** What one kind of rules calls what it makes for the service port. */
  names(rules: ServiceRules): ServiceNames;
}

/** The names of what a node's rules have for one service port, as the node's own program lists them. */
export interface ServiceNames {
  /** What leads to all of its endpoints, and to those of the node itself. */
  readonly all: string;
  readonly local: string;
  /** The rules for what comes from outside, where there are some, and for its loadBalancerSourceRanges. */
  readonly external: string;
  readonly firewall: string;
  /** What tells in the rules for an address that this service port has it (MachineState.externalOwners). */
  readonly owner: string;
  /** What leads to one endpoint; undefined where it has no chain of its own. */
  endpoint(address: string): string | undefined;
}

/** What is the same for many connections of one state, worked out once. The reason is the bench of 1,000 nodes (npm run bench). */
export interface Memory {
  /** By service port and kind of kube-proxy. */
  readonly endpoints: Memo<PortEndpoints>;
  /** By service port, node and zone. */
  readonly hinted: Memo<readonly Endpoint[]>;
  /** By service port and endpoint: the names of their chains, which are hashes. */
  readonly endpointChains: Memo<string | undefined>;
  /** By machine and address: where routes alone lead. */
  readonly routed: Map<string, Map<Address, Trace>>;
  /** By node, service port, scope and the source that the backends see. */
  readonly choices: Memo<BackendChoices>;
}

/** A machine with its routes in a form that can be asked. */
export interface Machine {
  readonly name: string;
  readonly state: MachineState;
  /** Present on Kubernetes nodes. */
  readonly node?: NodeState;
  /** What its kube-proxy makes of services; present on Kubernetes nodes. */
  readonly kubeProxy?: KubeProxy;
  /** The longest matching prefix, after the machine's own addresses; the smallest metric among equals. */
  lookup(address: Address): Lookup;
  /** True for the machine's own addresses and those of loopback: iptables' addrtype LOCAL. */
  isOwn(address: Address): boolean;
  /** The source that a connection of the machine itself gets. */
  sourceFor(address: Address): Address | undefined;
  /** The address that MASQUERADE puts in what leaves by this hop. */
  masqueradeSource(hop: Hop, destination: Address): Address | undefined;
  /** True if the pod network's own rule masquerades it. */
  leavesPodNetwork(source: Address, destination: Address): boolean;
}

/** Where a machine sends what is addressed to one address. */
export type Lookup =
  | { readonly kind: 'local' }
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'none' };

/** The endpoints that kube-proxy of one node chooses from. */
export interface Backends {
  /** For policy Cluster. */
  readonly all: readonly Endpoint[];
  /** For policy Local. */
  readonly local: readonly Endpoint[];
}

/** The endpoints of a service port, the same for all nodes. */
export interface PortEndpoints {
  readonly ready: readonly Endpoint[];
  /** Terminating ones that still serve, where kube-proxy falls back to them. */
  readonly fallback: readonly Endpoint[];
  readonly local: ReadonlyMap<string, readonly Endpoint[]>;
  readonly hasNodeHints: boolean;
}

/** What kube-proxy of one node makes of services: its kind of rules, and the endpoints that it puts in them. */
export interface KubeProxy {
  readonly rules: ServiceRules;
  /** Without a ready endpoint it falls back to terminating ones that still serve. */
  readonly usesTerminating: boolean;
  /** `annotated`: of services whose annotation asks for it. */
  readonly followsZoneHints: 'never' | 'annotated' | 'always';
  readonly followsNodeHints: boolean;
  /** --masquerade-all: also what pods send to a ClusterIP. */
  readonly masqueradesAll: boolean;
  /** It can tell what pods send from other packets, so that it masquerades the latter for ClusterIPs. */
  readonly isDetecting: boolean;
  /** What it takes for a pod. */
  isPod(source: Address): boolean;
  /** True for those of the node's addresses that it serves node ports on. */
  servesNodePortsOn(address: Address): boolean;
  /** Why the rules that apply to a packet are not known. */
  problemWith(matches: readonly Match[]): string | undefined;
}

/**
 * One kind of rules that a node can have for services: those of kube-proxy's iptables mode before Kubernetes 1.24, those
 * since, those of its nftables mode. Another kind is one more module and a line in kube-proxy.ts.
 */
export interface ServiceRules {
  /** The same function for all rules with the same names. */
  readonly names: (service: EchoService, port: ServicePort) => ServiceNames;
  /** The rules that replace the source of what is marked for that, and of an endpoint that is led to itself. */
  readonly masquerading: { readonly marked: string; readonly hairpin: string };
  /** It follows internalTrafficPolicy, and drops in the filter table what policy Local leaves without an endpoint. */
  readonly hasLocalDrops: boolean;
  /** They are in the chains that all programs of iptables share: what is accepted there before does not come to them. */
  readonly sharesChains: boolean;
  /** Before the routing decision about what comes in, or after it for the node's own. */
  translate(call: NodeCall): NatVerdict;
  /** What is left of a connection that is not translated, or that is translated to nothing. */
  filter(call: NodeCall, hook: Hook): FilterVerdict | undefined;
}

export type Hook = 'input' | 'forward' | 'output';

/** A packet at the rules of one node. */
export interface NodeCall {
  readonly network: NetworkState;
  readonly machine: Machine;
  readonly kubeProxy: KubeProxy;
  readonly packet: Packet;
  /** The service ports that have its destination, in the order of their rules. */
  readonly matches: readonly Match[];
  /** The one whose node port it is, where the destination is one of the node's own addresses. */
  readonly nodePort: Match | undefined;
}

/** A packet at the rules of one service port of one node. */
export interface RuleCall extends Omit<NodeCall, 'matches' | 'nodePort'> {
  readonly match: Match;
  readonly names: ServiceNames;
  readonly backends: Backends;
}

/** A drop that comes only where the packet is still for the same address behind the routing decision. */
export interface LaterDrop {
  readonly verdict: FilterVerdict;
  /** Also of what the node forwards. */
  readonly isForwardedToo: boolean;
}

/** What a node's nat rules do with a new connection. */
export type NatVerdict =
  /** No rule for it. */
  | { readonly kind: 'none' }
  /** A rule that changes nothing but is worth telling: policy Local without a local endpoint. */
  | ({ readonly kind: 'left'; readonly drop?: LaterDrop } & RuleMet)
  | Translation
  /** Dropped at once, whatever routes there are. */
  | { readonly kind: 'dropped'; readonly verdict: FilterVerdict }
  | { readonly kind: 'unknown'; readonly reason: string; readonly matches: readonly Match[] };

/** The destination is replaced by one of several endpoints. */
export interface Translation {
  readonly kind: 'translate';
  readonly match: Match;
  readonly names: ServiceNames;
  /** Which of the service's endpoints can be chosen here. */
  readonly scope: keyof Backends;
  readonly endpoints: readonly Endpoint[];
  readonly masquerade: boolean;
  /** The chains that the packet meets, up to the one that chooses. */
  readonly chains: readonly string[];
  readonly text: string;
  /** A clause about the machine {at}. */
  readonly reason: string;
}

/** What filter rules do with a new connection. */
export interface FilterVerdict {
  readonly action: 'reject' | 'drop';
  readonly chains: readonly string[];
  /** The service port whose lack of endpoints it is about. */
  readonly match?: Match;
  readonly text: string;
  readonly reason: string;
  /** The names of the policies that say so. */
  readonly policies?: readonly string[];
}
