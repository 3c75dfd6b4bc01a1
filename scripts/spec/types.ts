export const DRIVER_NAMES = ['multipass', 'incus', 'ssh'] as const;
export const DISTRIBUTION_NAMES = ['k3s', 'kubeadm'] as const;
export const ARTIFACTS_NAMES = ['online', 'bundle', 'debian'] as const;
export const MACHINE_ROLES = ['control-plane', 'worker', 'router', 'client'] as const;
export const ECHO_VARIANTS = ['full', 'simple'] as const;
export const LOAD_BALANCERS = ['externalIPs', 'ipam'] as const;

/** What the user wrote in lab.yaml, after parsing: the wish, with optional parts still absent. */
export type DriverName = (typeof DRIVER_NAMES)[number];
export type DistributionName = (typeof DISTRIBUTION_NAMES)[number];
export type ArtifactsName = (typeof ARTIFACTS_NAMES)[number];
export type CniName = 'calico' | 'bird';
export type EchoVariant = (typeof ECHO_VARIANTS)[number];
export type LoadBalancer = (typeof LOAD_BALANCERS)[number];
export type MachineRole = (typeof MACHINE_ROLES)[number];

export interface MachineSpec {
  readonly name: string;
  readonly role: MachineRole;
  readonly address: string;
  /** Clients only: whether routes to the lab prefixes lead through the router. */
  readonly routed?: boolean | undefined;
  /** Driver ssh: how a machine that exists already is reached. */
  readonly ssh?: SshSpec | undefined;
}

/** How a machine that exists already is reached over SSH; its host key must be in the user's known_hosts. */
export interface SshSpec {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Path of a private key; without it the SSH agent is asked. */
  readonly key?: string | undefined;
  /** Path of the known_hosts file that its host key is in; without it the user's own. */
  readonly knownHosts?: string | undefined;
  /** A host that the connection goes through: "user@host" or "user@host:port". */
  readonly jump?: string | undefined;
  /** Path of the private key for the jump host; without it `key`, or the SSH agent. */
  readonly jumpKey?: string | undefined;
}

/** Size of a virtual machine, as `multipass launch` takes it: "2G", "512M". */
export interface VmSize {
  readonly cpus: number;
  readonly memory: string;
  readonly disk: string;
}

/** Driver multipass: what virtual machines are made from. */
export interface MultipassSpec {
  /** As `multipass launch` takes it. */
  readonly image: string;
  /** How many are launched at once, after a first one has warmed the image. */
  readonly parallel: number;
  readonly sizes: Readonly<Record<MachineRole, VmSize>>;
  readonly network: {
    /**
     * static: the lab's addresses are second addresses on the network that Multipass gives; bridge: they are on a second
     * NIC on a bridge of the host; dhcp: the addresses that Multipass gives are the lab's.
     */
    readonly mode: 'static' | 'bridge' | 'dhcp';
    readonly bridge?: string | undefined;
  };
}

export interface LabSpec {
  readonly version: 1;
  readonly name: string;
  readonly driver: DriverName | 'auto';
  readonly distribution: DistributionName | 'auto';
  readonly artifacts: ArtifactsName | 'auto';
  /** Artifacts bundle: the bundle's folder. */
  readonly bundle?: string | undefined;
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
    /** How the LoadBalancer service gets externalIp: as spec.externalIPs, or from Calico's address management. */
    readonly loadBalancer: LoadBalancer;
  };
  readonly timeouts: {
    /** How many times as long as usual everything is waited for. */
    readonly scale: number;
  };
  readonly multipass: MultipassSpec;
}
