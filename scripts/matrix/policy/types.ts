import type { Address } from '../addresses.ts';

/** Labels of an object. */
export type Labels = Readonly<Record<string, string>>;

/** A pod with a network of its own, as policies see it. */
export interface PolicyPod {
  readonly ip: Address;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly serviceAccount: string;
  /** The ports that its containers declare with a name. */
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: string }[];
}

/** Whether something holds; a text says why that is not known. */
export type Known = boolean | string;

/** The first packet of a connection, as the rules of a node see it: after translation, before masquerading. */
export interface PolicyFlow {
  /** tcp, udp, icmp. */
  readonly protocol: string;
  readonly port: number;
  readonly source: Peer;
  readonly destination: Peer;
}

/** One end of it. */
export interface Peer {
  readonly address: Address;
  /** Absent where no pod has the address, or a node shares it with its pod. */
  readonly pod?: PolicyPod;
}

/** A policy of any kind, compiled. */
export interface Policy {
  /** "NetworkPolicy echo-server/only-routed". */
  readonly name: string;
  readonly tier: string;
  readonly order: number;
  readonly selects: (pod: PolicyPod) => Known;
  /** By direction; absent: the policy says nothing about it. */
  readonly ingress?: readonly PolicyRule[];
  readonly egress?: readonly PolicyRule[];
}
export type Direction = 'ingress' | 'egress';

export interface PolicyRule {
  readonly action: 'Allow' | 'Deny' | 'Pass' | 'Log';
  readonly matches: (flow: PolicyFlow) => Known;
}

/** Policies are asked tier by tier. */
export interface Tier {
  readonly name: string;
  readonly order: number;
  /** What becomes of what a policy of the tier selects and none of its rules is about. */
  readonly defaultAction: 'Deny' | 'Pass';
}

/** False where one is false, else not known where one is not. */
export function allOf(parts: readonly Known[]): Known {
  return parts.includes(false) ? false : (parts.find((part) => typeof part === 'string') ?? true);
}

/** True where one is true, else not known where one is not. */
export function anyOf(parts: readonly Known[]): Known {
  return parts.includes(true) ? true : (parts.find((part) => typeof part === 'string') ?? false);
}

/** The opposite. */
export function not(part: Known): Known {
  return typeof part === 'string' ? part : !part;
}
