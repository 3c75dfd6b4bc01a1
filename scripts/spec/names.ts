/** Apart from the schema, so that the command line knows them without loading zod. */
export const DRIVER_NAMES = ['multipass', 'incus', 'ssh'] as const;
export const DISTRIBUTION_NAMES = ['k3s', 'kubeadm'] as const;
export const ARTIFACTS_NAMES = ['online', 'bundle', 'debian'] as const;
export const MACHINE_ROLES = ['control-plane', 'worker', 'router', 'client'] as const;
export const ECHO_VARIANTS = ['full', 'simple'] as const;
/** The namespace of the echo workloads, where lab.yaml does not say another one. */
export const ECHO_NAMESPACE = 'echo-server';
export const PROXY_MODES = ['iptables', 'nftables', 'ipvs'] as const;
export const LOAD_BALANCERS = ['externalIPs', 'ipam'] as const;
