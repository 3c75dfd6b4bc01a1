import type { DoctorVerdict } from '../../../scripts/plan/doctor/check.ts';
import type { HostFacts } from '../../../scripts/plan/host-facts.ts';
import type { ArtifactsName, DriverName } from '../../../scripts/spec/types.ts';

/** One host for one check. */
export interface Case {
  readonly what: string;
  /** What is different from a good host. */
  readonly facts?: Partial<HostFacts>;
  /** Default: incus. */
  readonly driver?: DriverName;
  /** Driver multipass: its network mode. Default: static. */
  readonly mode?: 'dhcp' | 'bridge';
  /** Default: debian. */
  readonly artifacts?: ArtifactsName;
  /** With Calico: its version and that of Kubernetes. Default: without. */
  readonly versions?: { readonly kubernetes: string; readonly calico: string };
  readonly verdict: DoctorVerdict;
  /** Pieces of what was found, what is wrong, or of the cure. */
  readonly says: readonly string[];
}

/** Hosts by the id of the check. */
export type Cases = Readonly<Record<string, readonly Case[]>>;
