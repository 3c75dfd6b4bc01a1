import type { HostFacts, KernelFact } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault, hostWarning, type Precondition, unseen, warned } from './check.ts';

/** A part of the kernel that the lab uses, under the names of Kconfig. */
interface Part {
  readonly option: string;
  /** The module that it is in, where it can be one. */
  readonly module?: string;
  /** The name in /proc/filesystems, for a file system. */
  readonly filesystem?: string;
}

interface Feature {
  readonly id: string;
  readonly title: string;
  /** What the lab does with it. */
  readonly for: string;
  readonly parts: readonly Part[];
  /** What labup does without it, where it can do without. */
  readonly without?: string;
  /** It is Calico that needs it. */
  readonly calicoOnly?: true;
}

/** What containers take from the host's kernel. Each is used by what `for` names, and by nothing else of the lab. */
const FEATURES: readonly Feature[] = [
  {
    id: 'kernel-overlay',
    title: 'kernel: overlay',
    for: 'container images',
    parts: [{ option: 'OVERLAY_FS', module: 'overlay', filesystem: 'overlay' }],
  },
  {
    id: 'kernel-btrfs',
    title: 'kernel: btrfs, loop',
    for: 'machines that share blocks',
    parts: [
      { option: 'BTRFS_FS', module: 'btrfs', filesystem: 'btrfs' },
      { option: 'BLK_DEV_LOOP', module: 'loop' },
    ],
    without: 'machines are whole copies of the image, which takes longer and more disk',
  },
  {
    id: 'kernel-links',
    title: 'kernel: bridge, veth',
    for: 'lab and pod networks',
    parts: [
      { option: 'BRIDGE', module: 'bridge' },
      { option: 'VETH', module: 'veth' },
    ],
  },
  {
    id: 'kernel-netfilter',
    title: 'kernel: nf_tables',
    for: 'services (kube-proxy)',
    parts: [
      { option: 'NF_TABLES', module: 'nf_tables' },
      { option: 'NF_TABLES_IPV4' },
      { option: 'NFT_COMPAT', module: 'nft_compat' },
      { option: 'NF_CONNTRACK', module: 'nf_conntrack' },
      { option: 'NF_CT_NETLINK', module: 'nf_conntrack_netlink' },
      { option: 'NF_NAT', module: 'nf_nat' },
      { option: 'NETFILTER_XT_NAT', module: 'xt_nat' },
      { option: 'NETFILTER_XT_MARK', module: 'xt_mark' },
      { option: 'NETFILTER_XT_MATCH_ADDRTYPE', module: 'xt_addrtype' },
      { option: 'NETFILTER_XT_MATCH_COMMENT', module: 'xt_comment' },
      { option: 'NETFILTER_XT_MATCH_CONNTRACK', module: 'xt_conntrack' },
      { option: 'NETFILTER_XT_MATCH_STATISTIC', module: 'xt_statistic' },
      { option: 'NETFILTER_XT_TARGET_MASQUERADE', module: 'xt_MASQUERADE' },
      { option: 'IP_NF_TARGET_REJECT', module: 'ipt_REJECT' },
    ],
  },
  {
    id: 'kernel-calico',
    title: 'kernel: IP sets, matches',
    for: "Calico's rules (felix)",
    calicoOnly: true,
    parts: [
      { option: 'IP_SET', module: 'ip_set' },
      { option: 'IP_SET_HASH_IP', module: 'ip_set_hash_ip' },
      { option: 'IP_SET_HASH_NET', module: 'ip_set_hash_net' },
      { option: 'NETFILTER_XT_SET', module: 'xt_set' },
      { option: 'NETFILTER_XT_MARK', module: 'xt_mark' },
      { option: 'NETFILTER_XT_MATCH_MULTIPORT', module: 'xt_multiport' },
      { option: 'IP_NF_MATCH_RPFILTER', module: 'ipt_rpfilter' },
    ],
  },
  {
    id: 'kernel-routing',
    title: 'kernel: routing',
    for: 'ECMP, and the rule that keeps lab traffic in the lab',
    parts: [{ option: 'IP_MULTIPLE_TABLES' }, { option: 'IP_ROUTE_MULTIPATH' }],
  },
  {
    id: 'kernel-tcp-md5',
    title: 'kernel: TCP MD5',
    for: 'BGP passwords',
    parts: [{ option: 'TCP_MD5SIG' }],
  },
  {
    id: 'kernel-packet',
    title: 'kernel: packet',
    for: 'captures',
    parts: [{ option: 'PACKET', module: 'af_packet' }],
    without: 'labtest cannot tell where a packet is lost',
  },
];

const DEBIAN_KERNEL =
  "use a kernel that has it, as Debian's have: sudo apt-get install linux-image-$(dpkg --print-architecture)";

type State = 'there' | 'module' | 'missing' | 'not known';

/** The checks of the host's kernel: of every feature that containers take from it. */
export const KERNEL_CHECKS: readonly Precondition[] = FEATURES.map((feature) => ({
  id: feature.id,
  title: feature.title,
  drivers: ['incus'],
  ...(feature.calicoOnly === true ? { calicoOnly: true as const } : {}),
  judge: (_plan: LabPlan, facts: HostFacts) => judgeFeature(feature, facts),
}));

function judgeFeature(feature: Feature, { kernel, unseen: not }: HostFacts): HostFinding {
  const modules = feature.parts.flatMap(({ module }) => (module === undefined ? [] : [module]));
  const load = `modprobe -a ${modules.join(' ')}`;
  if (kernel === undefined) return unseen(feature.title, not.kernel ?? 'this host has no Linux kernel', load);
  const seen = feature.parts.map((part) => ({ name: part.option, state: stateOf(part, kernel) }));
  const named = (state: State) => seen.filter((part) => part.state === state).map(({ name }) => name);
  const missing = named('missing');
  if (missing.length > 0) {
    const what = `kernel ${kernel.release} has no ${missing.join(', ')}: needed for ${feature.for}`;
    const [problem, found] =
      feature.without === undefined
        ? [hostFault(what, DEBIAN_KERNEL), 'missing']
        : [
            hostWarning(`${what}; without it ${feature.without}`, DEBIAN_KERNEL),
            `missing: ${feature.without}`,
          ];
    return { found, problems: [problem] };
  }
  const unknown = named('not known');
  if (unknown.length > 0) {
    const message = `whether kernel ${kernel.release} has ${unknown.join(', ')} (${feature.for}) cannot be told from here`;
    const hint =
      modules.length > 0
        ? `where the kernel's modules are (the host of this container): ${load}`
        : `zgrep -E '${unknown.join('|')}' /proc/config.gz   (on the host of this container: /boot/config-*)`;
    return warned(`not known: ${unknown.join(', ')}`, message, hint);
  }
  const asModule = named('module');
  return { found: `there${asModule.length > 0 ? ', loaded when needed' : ''}, for ${feature.for}` };
}

/**
 * Only by looking: modprobe would change something, and is of no use in a container, which sees neither the modules nor
 * what is built in. What is registered is there; else the kernel's configuration decides, and for what that calls a
 * module, whether its file is there.
 */
function stateOf({ option, module, filesystem }: Part, kernel: KernelFact): State {
  if (filesystem !== undefined && kernel.filesystems.includes(filesystem)) return 'there';
  if (module !== undefined && kernel.active.includes(module)) return 'there';
  const value = kernel.config?.get(option);
  if (value === 'y') return 'there';
  if (kernel.config !== undefined && value === undefined) return 'missing';
  return module !== undefined && kernel.modules?.includes(module) === true ? 'module' : 'not known';
}
