import type {
  ArtifactsName,
  CniName,
  DistributionName,
  DriverName,
  EchoVariant,
  LabSpec,
  LoadBalancer,
  MachineRole,
  MultipassSpec,
  SshSpec,
} from '../spec/types.ts';

/** A decision and the reason for it, printed by labup. */
export interface Choice<T> {
  readonly value: T;
  readonly why: string;
}

/** A static route of a machine. `via` absent means on-link on the lab NIC. */
export interface RoutePlan {
  readonly to: string;
  readonly via?: string;
}

export interface MachinePlan {
  readonly name: string;
  readonly role: MachineRole;
  readonly address: string;
  /** Kubernetes nodes with the `bird` CNI only: the node's pod block. Calico's IPAM chooses blocks by itself. */
  readonly podBlock?: string;
  /** Present on machines that speak BGP. */
  readonly asn?: number;
  readonly routes: readonly RoutePlan[];
  /** Where the lab's address is on a NIC of its own: that NIC's MAC address. */
  readonly mac?: string;
  /** Driver ssh only. */
  readonly ssh?: SshSpec;
}

/** One BGP session, described once; both ends are rendered from it. */
export interface PeeringPlan {
  readonly kind: 'ibgp' | 'ebgp';
  readonly a: { readonly machine: string; readonly address: string; readonly asn: number };
  readonly b: { readonly machine: string; readonly address: string; readonly asn: number };
}

/** Complete and readonly: everything that every later stage needs to know. No secrets. */
export interface LabPlan {
  readonly schemaVersion: 1;
  readonly lab: string;
  readonly choices: {
    readonly driver: Choice<DriverName>;
    readonly distribution: Choice<DistributionName>;
    readonly artifacts: Choice<ArtifactsName>;
    readonly cni: Choice<CniName>;
  };
  readonly network: {
    readonly bridge: string;
    readonly subnet: string;
    readonly prefixLength: number;
    readonly hostAddress: string;
  };
  readonly machines: readonly MachinePlan[];
  /** Driver multipass only. */
  readonly multipass?: MultipassSpec;
  readonly kubernetes: {
    readonly version: string;
    readonly podCidr: string;
    readonly podBlockLength: number;
    readonly serviceCidr: string;
    /** Addresses for LoadBalancer services. */
    readonly loadBalancerCidr: string;
    readonly dnsAddress: string;
    readonly domain: string;
    readonly apiServer: string;
    /** kube-proxy's mode; absent: iptables. */
    readonly proxyMode?: Exclude<LabSpec['kubernetes']['proxyMode'], 'iptables'>;
    /** Whose cluster DNS: the lab's own, or the CoreDNS that the distribution brings. */
    readonly dns: 'lab' | 'coredns';
  };
  /** With cni calico. */
  readonly calico?: {
    readonly version: string;
    /** How many next hops its BIRD gives to a kernel for one prefix; the lab's own has bgp.maximumPaths. */
    readonly maximumPaths: number;
  };
  /** Where everything is waited for longer than usual. */
  readonly timeouts?: LabSpec['timeouts'];
  /** What labtest tests, where lab.yaml says so. */
  readonly test?: LabSpec['test'];
  /** The folder that the software comes from, with artifacts bundle. */
  readonly bundle?: string;
  readonly bgp: {
    readonly clusterAsn: number;
    readonly routerAsn: number;
    readonly peerings: readonly PeeringPlan[];
    readonly routerPrefixes: readonly string[];
    /** Where the external addresses of services are from; each is announced as a /32. */
    readonly externalPrefixes: readonly string[];
    readonly maximumPrefix: number;
    /** How many next hops a BGP speaker that the lab configures uses for one prefix. */
    readonly maximumPaths: number;
    readonly keepaliveSeconds: number;
    readonly holdSeconds: number;
  };
  readonly echo: {
    readonly variant: EchoVariant;
    /** The lab's own namespace. */
    readonly namespace: string;
    readonly externalIp: string;
    /** Where the LoadBalancer service has its address: in status.loadBalancer (ipam), or in spec.externalIPs. */
    readonly loadBalancer: LoadBalancer;
    readonly servers: readonly { readonly pod: string; readonly hostname: string; readonly node: string }[];
    readonly clientPod: { readonly pod: string; readonly node: string };
    readonly tcpPort: number;
    readonly udpPort: number;
  };
}

/** The machines of one role, in plan order. */
export function machinesOf(plan: LabPlan, ...roles: readonly MachineRole[]): readonly MachinePlan[] {
  return plan.machines.filter((machine) => roles.includes(machine.role));
}

/** The one machine of a role that a lab has exactly once. Throws where the plan is not well-formed. */
export function theMachine(plan: LabPlan, role: 'control-plane' | 'router'): MachinePlan {
  const [machine] = machinesOf(plan, role);
  if (machine === undefined) throw new Error(`the plan has no ${role}`);
  return machine;
}
