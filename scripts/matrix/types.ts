import type { CheckOf } from '../bgp/checks/check.ts';
import type { Difference, Finding, OUTCOMES, Proof } from './findings.ts';

export type Outcome = (typeof OUTCOMES)[number];

/**
 * What is known about a cell. `harness`: the probe or its proof failed, so nothing is known. `blocked`: not probed,
 * because something below it is known to be broken. `skipped`: not probed, because what must happen is not modelled,
 * or an application that is not known was silent, which proves nothing.
 */
export const VERDICTS = ['passed', 'failed', 'flaky', 'blocked', 'skipped', 'harness'] as const;
export type Verdict = (typeof VERDICTS)[number];

/** The protocols that have ports. */
export type PortProtocol = 'tcp' | 'udp';
/** `icmp`: a ping, whose port is 0 and whose answer does not show a client address. */
export type Protocol = PortProtocol | 'icmp';

/** The outcome that the lab's state predicts, with every backend and source address that would be right. */
export interface Expectation {
  readonly outcome: Outcome;
  /** Pod addresses that may answer; empty unless the outcome is ok. */
  readonly servers: readonly string[];
  /** Client addresses that the server may see; empty unless the outcome is ok. A ping does not show them. */
  readonly clients: readonly string[];
  /** One plain sentence: which rule or route makes it so. */
  readonly why: string;
  /** The packet's way, in order, to the answering pod or to where it ends. */
  readonly chain: readonly ChainStep[];
}

/** What decides at one point of the packet's way. `rule` is kube-proxy or the pod network's masquerading. */
export const CHAIN_LAYERS = ['dns', 'route', 'bgp', 'rule', 'link', 'endpoint', 'source'] as const;

/** One step of the packet's way. */
export interface ChainStep {
  /** A machine's name, or pod/NAME. */
  readonly at: string;
  readonly layer: (typeof CHAIN_LAYERS)[number];
  readonly text: string;
  /** rule only: the iptables chains that the packet meets, in order; where several endpoints can be chosen, theirs last. */
  readonly chains?: readonly string[];
}

/** What was seen when a red cell's connection was made once more and every hop watched. */
export interface Evidence {
  /** The first hop that differs from the chain. */
  readonly difference: Difference;
  /** Where chance chooses the way: how many of how many tries went wrong. */
  readonly chance?: { readonly lost: number; readonly tries: number };
  readonly hops: readonly EvidenceHop[];
  /** Where all of it is kept, if it was saved. */
  readonly file?: string;
}

export interface EvidenceHop {
  readonly at: string;
  readonly agrees: boolean;
  readonly text: string;
  readonly detail: readonly string[];
}

/** Where a connection starts. */
export type FlowSource =
  | { readonly kind: 'node' | 'router' | 'client'; readonly name: string; readonly address: string }
  /** `address` is absent while the pod does not run. `node` is the machine that the pod is on, or is meant to be on. */
  | { readonly kind: 'pod'; readonly name: string; readonly address?: string; readonly node: string };

/** Where a connection goes. `to` is the readable half of the cell's id and does not hold addresses that vary. */
export interface Target {
  readonly kind: 'pod' | 'name' | 'cluster-ip' | 'node-port' | 'external-ip' | 'node' | 'host-port';
  readonly to: string;
  /** An address, or the name that the source itself must resolve. */
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** Absent for a pod's own address. */
  readonly service?: string;
  /** node-port, node and host-port only: the machine that is addressed. */
  readonly node?: string;
  /** pod, name and host-port only: the pods behind the address. */
  readonly pods?: readonly string[];
  /**
   * What is there: a web server, or an application of which nothing is known; absent: an echo server. Backend and client
   * address then come from the nodes' connection tracking, not from the answer.
   */
  readonly talk?: 'http' | 'none';
  /** talk http: the status that GET / must have; absent: any. */
  readonly httpStatus?: number;
}

/** What the cells of one target share: "pod/echo-server1:1234/tcp", "pod/echo-server1/icmp". */
export function targetId({ to, port, protocol }: Pick<Target, 'to' | 'port' | 'protocol'>): string {
  return protocol === 'icmp' ? `${to}/icmp` : `${to}:${port}/${protocol}`;
}

/** One connection to try, and what must come of it. */
export interface Cell extends Target {
  /** `from>to:port/protocol`, for a ping `from>to/icmp`; stable from run to run. */
  readonly id: string;
  readonly from: string;
  readonly expected: Expectation;
  /** The id of the failed check that makes it pointless to try. */
  readonly blockedBy?: string;
  /** Why it is not tried on purpose; the expectation then says nothing and its outcome is harness-error. */
  readonly skipped?: string;
  /** It must be answered, but chance decides whether it is: how it can end. One try would prove nothing, so it fails. */
  readonly chance?: string;
  /** The cells that it was added for as a positive control; absent for a cell that was asked for. */
  readonly controlOf?: readonly string[];
}

/** Whether one try of a cell can prove anything, so that it is made. */
export function isTried({ blockedBy, skipped, chance }: Cell): boolean {
  return blockedBy === undefined && skipped === undefined && chance === undefined;
}

/** What a probe saw. */
export interface Observation {
  readonly outcome: Outcome;
  readonly server: string | null;
  readonly client: string | null;
  readonly attempts: number;
  /** Milliseconds from SYN to connected; null for UDP and for connections that did not come about. */
  readonly connectMs: number | null;
  readonly detail: string | null;
  /** What the attempt can be found again by in logs and captures; absent where no attempt was made. */
  readonly trace?: ProbeTrace;
  /** Absent where it was not tried. */
  readonly fullSize?: FullSize;
  /** talk http: the status of the answer. */
  readonly httpStatus?: number | undefined;
}

/** What became of packets as large as the path takes, on a connection that was right with small ones. */
export interface FullSize {
  /** What was sent: bytes of a stream, or of one packet. */
  readonly bytes: number;
  /** Where it got lost; null where all of it came back. */
  readonly lost: 'there' | 'back' | 'somewhere' | null;
  readonly detail: string | null;
}

/** The marks of one attempt. */
export interface ProbeTrace {
  /** The line that was sent; null where no payload could leave. */
  readonly nonce: string | null;
  /** The address that was connected to: for a name, what it resolved to. */
  readonly address: string | null;
  readonly localAddress: string | null;
  readonly localPort: number | null;
}

export interface CellResult {
  readonly cell: Cell;
  /** null where nothing was tried: cells that are blocked or skipped, or that chance decides. */
  readonly observed: Observation | null;
  readonly verdict: Verdict;
  /** Why the verdict is what it is; null for a cell that simply passed. Sentences about it: report/cell-text.ts. */
  readonly finding: Finding | null;
  /** Connections that rightly failed: what proves that they failed where they had to. */
  readonly proof?: readonly Proof[];
  /** Red cells only. */
  readonly evidence?: Evidence;
}

/** A name to be resolved at a source. */
export interface DnsQuestion {
  readonly id: string;
  readonly from: string;
  readonly name: string;
  readonly type: CheckOf<'dns'>['subject']['type'];
  /** The server to ask; the source's own resolver if absent. */
  readonly server?: string;
}

export type DnsAnswer = NonNullable<CheckOf<'dns'>['seen']>;
