import { findsAddresses } from '../plan/found.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { type RenderedFile, readAsset } from '../shared/files.ts';
import { bootSettings, hostLines } from './cloud-init.ts';

/** What every plain machine gets from apt: SSH and Python are there already. Names of Debian 12 and Ubuntu 24.04. */
const COMMON = ['iproute2', 'procps', 'tcpdump', 'netcat-openbsd', 'iputils-ping', 'conntrack', 'iptables'];
/** nft shows kube-proxy's and Calico's rules in nftables mode, ipset the sets of theirs in iptables mode. */
const NODE = ['socat', 'ebtables', 'ethtool', 'ipset', 'nftables', 'kmod'];
/** k3s has a container runtime in itself. */
const RUNTIME = ['containerd', 'runc'];
const BIRD = ['containernetworking-plugins', 'bird'];
const ROUTER = ['frr', 'frr-pythontools'];

type Choices = Pick<LabPlan['choices'], 'distribution' | 'cni'>;

/** The packages of a plain machine, for its role and what the lab is made of. */
export function packagesOf({ role }: MachinePlan, { distribution, cni }: Choices): readonly string[] {
  if (role === 'router') return [...COMMON, ...ROUTER];
  if (role === 'client') return COMMON;
  return [
    ...COMMON,
    ...(distribution.value === 'kubeadm' ? RUNTIME : []),
    ...(cni.value === 'bird' ? BIRD : []),
    ...NODE,
  ];
}

/** What keeps many commands over one connection possible, on every machine. */
export function renderSshdConfig(): RenderedFile {
  return overlay('etc/ssh/sshd_config.d/10-lab.conf');
}

/** The network settings of a plain machine: address, routes, guard. Without secrets. */
export function renderNetworkFiles(plan: LabPlan, machine: MachinePlan): readonly RenderedFile[] {
  const settings = {
    address: `${machine.address}/${plan.network.prefixLength}`,
    ...(machine.mac === undefined ? {} : { mac: machine.mac }),
    ...(findsAddresses(plan) ? { dhcp: true } : {}),
    routes: machine.routes,
    guard: labPrefixes(plan),
    sysctls: bootSettings(machine),
    hosts: hostLines(plan),
  };
  return [
    { path: '/etc/lab/network.json', content: `${JSON.stringify(settings, null, 2)}\n` },
    { ...plain('lab-network', '/usr/local/sbin/lab-network'), mode: 0o755 },
    plain('lab-network.service', '/etc/systemd/system/lab-network.service'),
    plain('networkd.conf', '/etc/systemd/networkd.conf.d/10-lab.conf'),
  ];
}

/** What mounts the cgroup v1 controllers that a container's systemd leaves out; on cgroup v2 it does nothing. */
export function renderCgroupFiles(): readonly RenderedFile[] {
  return [
    overlay('etc/systemd/system/lab-cgroups.service'),
    { ...overlay('usr/local/sbin/lab-cgroups'), mode: 0o755 },
  ];
}

/** What no machine may send by its default route: pods, services, external addresses, the router's prefixes. */
export function labPrefixes({ kubernetes, bgp }: LabPlan): readonly string[] {
  return [kubernetes.podCidr, kubernetes.serviceCidr, ...bgp.externalPrefixes, ...bgp.routerPrefixes];
}

function overlay(path: string): RenderedFile {
  return { path: `/${path}`, content: readAsset('images', 'machine', 'files', ...path.split('/')) };
}

function plain(name: string, path: string): RenderedFile {
  return { path, content: readAsset('images', 'machine', 'plain', name) };
}
