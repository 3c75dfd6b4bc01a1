/** What the user wrote in lab.yaml, after parsing: the wish, with optional parts still absent. */
export type DriverName = 'multipass' | 'incus' | 'ssh';
export type DistributionName = 'k3s' | 'kubeadm';
export type ArtifactsName = 'online' | 'bundle' | 'debian';
export type CniName = 'calico' | 'bird';
export type EchoVariant = 'full' | 'simple';
export type MachineRole = 'control-plane' | 'worker' | 'router' | 'client';

export interface MachineSpec {
  readonly name: string;
  readonly role: MachineRole;
  readonly address: string;
  /** Clients only: whether routes to the lab prefixes lead through the router. */
  readonly routed?: boolean | undefined;
}

export interface LabSpec {
  readonly version: 1;
  readonly name: string;
  readonly driver: DriverName | 'auto';
  readonly distribution: DistributionName | 'auto';
  readonly artifacts: ArtifactsName | 'auto';
  readonly network: {
    readonly subnet: string;
    /** The host's own address on the lab bridge. */
    readonly host: string;
    readonly bridge: string;
  };
  readonly machines: readonly MachineSpec[];
  readonly kubernetes: {
    readonly podCidr: string;
    readonly serviceCidr: string;
  };
  readonly bgp: {
    readonly clusterAsn: number;
    readonly routerAsn: number;
    /** Prefixes that the router originates, so that the nodes show a route learned from it. */
    readonly routerPrefixes: readonly string[];
  };
  readonly echo: {
    readonly variant: EchoVariant;
    readonly externalIp: string;
  };
}
