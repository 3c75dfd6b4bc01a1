import type { HostFacts, KernelFact } from '../../../scripts/plan/host-facts.ts';

const GIB = 2 ** 30;

/** What of Debian 12's kernel the lab uses, as in its package linux-config-6.1 (6.1.192-2). */
export const DEBIAN_KERNEL: KernelFact = {
  release: '6.1.0-18-amd64',
  filesystems: ['proc', 'ext4', ''],
  active: ['bridge', 'nf_tables'],
  config: new Map([
    ...['OVERLAY_FS', 'BTRFS_FS', 'BLK_DEV_LOOP', 'BRIDGE', 'VETH', 'NF_TABLES', 'NFT_COMPAT', 'NF_CONNTRACK']
      .concat(['NF_CT_NETLINK', 'NF_NAT', 'NETFILTER_XT_NAT', 'NETFILTER_XT_MARK', 'IP_NF_TARGET_REJECT'])
      .concat(['ADDRTYPE', 'COMMENT', 'CONNTRACK', 'STATISTIC'].map((name) => `NETFILTER_XT_MATCH_${name}`))
      .concat(['NETFILTER_XT_TARGET_MASQUERADE', 'NETFILTER_XT_SET', 'NETFILTER_XT_MATCH_MULTIPORT'])
      .concat(['IP_SET', 'IP_SET_HASH_IP', 'IP_SET_HASH_NET', 'IP_NF_MATCH_RPFILTER'])
      .map((option) => [option, 'm'] as const),
    ...['NF_TABLES_IPV4', 'IP_MULTIPLE_TABLES', 'IP_ROUTE_MULTIPATH', 'TCP_MD5SIG', 'PACKET'].map(
      (option) => [option, 'y'] as const,
    ),
  ]),
  modules: ['overlay', 'btrfs', 'loop', 'bridge', 'veth', 'nf_tables', 'nft_compat', 'nf_conntrack']
    .concat(['nf_conntrack_netlink', 'nf_nat', 'xt_nat', 'xt_mark', 'ipt_REJECT', 'xt_addrtype'])
    .concat(['xt_comment', 'xt_conntrack', 'xt_statistic', 'xt_MASQUERADE'])
    .concat(['ip_set', 'ip_set_hash_ip', 'ip_set_hash_net', 'xt_set', 'xt_multiport', 'ipt_rpfilter']),
};

/** A bare host that can take the default lab: root, nothing of a lab yet, LXD running, two artifacts to build. */
export const GOOD_HOST: HostFacts = {
  platform: 'linux',
  uid: 0,
  node: { version: '20.19.0', floor: '20.19' },
  clock: { now: Date.UTC(2026, 5, 1), newestFile: Date.UTC(2026, 4, 31) },
  routes: [
    { dst: 'default', kind: 'via', dev: 'eth0' },
    { dst: '192.0.2.0/24', kind: 'connected', dev: 'eth0' },
  ],
  addresses: [
    { dev: 'lo', address: '127.0.0.1', prefixLength: 8 },
    { dev: 'eth0', address: '192.0.2.2', prefixLength: 24 },
  ],
  links: ['lo', 'eth0'],
  tunnels: [],
  bridgeIsOurs: false,
  bridgeNetfilter: false,
  dropsForwarded: false,
  resolvers: ['192.0.2.1'],
  disks: [{ use: 'cache', path: '/var/lib', device: 1, freeBytes: 50 * GIB }],
  freeMemoryBytes: 8 * GIB,
  existingMachines: [],
  differences: [],
  kernel: DEBIAN_KERNEL,
  inotify: { instances: 128, watches: 65536, writable: true },
  kvm: 'usable',
  kmsg: true,
  daemons: [
    {
      kind: 'lxd',
      program: '/usr/bin/lxd',
      unit: 'lxd.service',
      installed: true,
      startable: true,
      socket: 'answers',
      version: '5.0.2',
      storageDrivers: ['btrfs', 'dir'],
    },
  ],
  otherLabs: [],
  apt: true,
  missingPackages: [],
  networkReachable: true,
  missingArtifacts: ['kubernetes', 'machine image'],
  unseen: {},
};

/** A Multipass as it should be. */
export const MULTIPASS = { client: '1.16.3', daemon: '1.16.3', driver: 'qemu' };
