import { findsAddresses } from '../plan/found.ts';
import type { LabPlan, MachinePlan } from '../plan/types.ts';
import { readAsset } from '../shared/assets.ts';
import type { RenderedFile } from '../shared/files.ts';
import { K8S_IMAGE_REPOSITORY, PAUSE_TAG } from '../shared/versions.ts';
import { bootSettings, hostLines } from './cloud-init.ts';

/** What every plain machine gets from apt: SSH and Python are there already. Names of Debian 12 and Ubuntu 24.04. */
const COMMON = ['iproute2', 'procps', 'tcpdump', 'netcat-openbsd', 'iputils-ping', 'conntrack', 'iptables'];
const NODE = [
  'containerd',
  'runc',
  'containernetworking-plugins',
  'bird',
  'socat',
  'ebtables',
  'ethtool',
  'ipset',
  'kmod',
];
const ROUTER = ['frr', 'frr-pythontools'];

/** The packages of a plain machine. */
export function packagesOf({ role }: MachinePlan): readonly string[] {
  if (role === 'router') return [...COMMON, ...ROUTER];
  return role === 'client' ? COMMON : [...COMMON, ...NODE];
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

/** containerd and kubelet of a plain Kubernetes node, as the lab's own image has them. */
export function renderRuntimeFiles(): readonly RenderedFile[] {
  const config = overlay('etc/containerd/config.toml');
  const filled = config.content
    .replaceAll('@REGISTRY@', K8S_IMAGE_REPOSITORY)
    .replaceAll('@PAUSE_TAG@', PAUSE_TAG);
  return [
    { ...config, content: filled },
    overlay('etc/systemd/system/containerd.service.d/10-lab.conf'),
    overlay('etc/systemd/system/kubelet.service'),
    overlay('etc/systemd/system/kubelet.service.d/10-kubeadm.conf'),
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
