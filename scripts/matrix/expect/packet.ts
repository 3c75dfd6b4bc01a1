import type { Route } from '../state/types.ts';
import type { Outcome, Protocol } from '../types.ts';
import type { Unknown } from './ways.ts';

/** The first packet of a connection, at one machine. */
export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** Why KUBE-MARK-DROP marked it, as a clause about the machine {at}. */
  readonly dropReason?: string;
  /** The machines that it came through. */
  readonly visited: readonly string[];
  /** Those of them that forwarded it with the source and destination that it has now. */
  readonly forwarders: readonly string[];
}

/** How an address is reached from a machine, routes only. */
export interface Reach {
  readonly at: string;
  /** Absent where the address is the machine's own. */
  readonly route?: Route;
  /** From each next hop on; empty at the end of the way. */
  readonly next: readonly Reach[];
  /** How the ways that do not get there end. */
  readonly ends: readonly Outcome[];
  readonly unknown?: Unknown;
}
