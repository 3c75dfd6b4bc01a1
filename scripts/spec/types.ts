import type { ParsedSpec } from './schema.ts';

type Deep<T> = T extends object ? { readonly [K in keyof T]: Deep<T[K]> } : T;

/** A machine of lab.yaml. */
export type MachineSpec = NonNullable<Deep<ParsedSpec>['machines']>[number];

/** How a machine that exists already is reached over SSH; its host key must be in the user's known_hosts. */
export type SshSpec = NonNullable<MachineSpec['ssh']>;

/** What the user wrote in lab.yaml, with every default filled in. */
export type LabSpec = Deep<ParsedSpec> & {
  readonly network: { readonly host: string };
  readonly machines: readonly MachineSpec[];
};

/** Driver multipass: what virtual machines are made from. */
export type MultipassSpec = LabSpec['multipass'];

export type DriverName = Exclude<LabSpec['driver'], 'auto'>;
export type DistributionName = Exclude<LabSpec['distribution'], 'auto'>;
export type ArtifactsName = Exclude<LabSpec['artifacts'], 'auto'>;
export type CniName = 'calico' | 'bird';
export type EchoVariant = LabSpec['echo']['variant'];
export type LoadBalancer = LabSpec['echo']['loadBalancer'];
export type MachineRole = MachineSpec['role'];
