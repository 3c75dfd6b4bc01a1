import type { HostFacts, KernelFact } from '../../../scripts/plan/host-facts.ts';
import type { Case, Cases } from './case.ts';
import { DEBIAN_KERNEL } from './good-host.ts';

const kernel = (change: Partial<KernelFact>): Partial<HostFacts> => ({
  kernel: { ...DEBIAN_KERNEL, ...change },
});
const without = (...options: string[]) =>
  kernel({ config: new Map([...(DEBIAN_KERNEL.config ?? [])].filter(([name]) => !options.includes(name))) });
const { config: _config, modules: _modules, ...SILENT } = DEBIAN_KERNEL;

const CALICO = { kubernetes: 'v1.36.3', calico: 'v3.32.1' };

/** What containers take from the kernel. */
export const KERNEL_CASES: Cases = {
  'kernel-overlay': [
    { what: 'as a module', verdict: 'ok', says: ['loaded when needed, for container images'] },
    {
      what: 'registered, whatever else can be read',
      facts: { kernel: { ...SILENT, filesystems: ['overlay'], active: [] } },
      verdict: 'ok',
      says: ['there, for'],
    },
    {
      what: 'loaded, whatever else can be read',
      facts: { kernel: { ...SILENT, active: ['overlay'] } },
      verdict: 'ok',
      says: ['there, for'],
    },
    {
      what: 'left out',
      facts: without('OVERLAY_FS'),
      verdict: 'error',
      says: ['kernel 6.1.0-18-amd64 has no OVERLAY_FS', 'apt-get install linux-image-'],
    },
    {
      what: 'a module that is not here, as in a container',
      facts: { kernel: { ...SILENT, config: new Map([['OVERLAY_FS', 'm']]) } },
      verdict: 'warning',
      says: ['cannot be told from here', 'modprobe -a overlay'],
    },
    {
      what: 'not to be told',
      facts: { kernel: SILENT },
      verdict: 'warning',
      says: ['whether kernel 6.1.0-18-amd64 has OVERLAY_FS', 'modprobe -a overlay'],
    },
    { what: 'not to be seen', facts: { kernel: undefined }, verdict: 'warning', says: ['no Linux kernel'] },
  ],
  'kernel-btrfs': [
    { what: 'as modules', verdict: 'ok', says: ['share blocks'] },
    {
      what: 'left out',
      facts: without('BTRFS_FS'),
      verdict: 'warning',
      says: ['no BTRFS_FS', 'whole copies'],
    },
    { what: 'without loop', facts: without('BLK_DEV_LOOP'), verdict: 'warning', says: ['no BLK_DEV_LOOP'] },
  ],
  'kernel-links': [
    { what: 'one loaded, one a module', verdict: 'ok', says: ['lab and pod networks'] },
    { what: 'without veth', facts: without('VETH'), verdict: 'error', says: ['has no VETH'] },
  ],
  'kernel-netfilter': [
    { what: 'all there', verdict: 'ok', says: ['kube-proxy'] },
    {
      what: 'without two of the matches',
      facts: without('NETFILTER_XT_MATCH_STATISTIC', 'NETFILTER_XT_MATCH_COMMENT'),
      verdict: 'error',
      says: ['has no NETFILTER_XT_MATCH_COMMENT, NETFILTER_XT_MATCH_STATISTIC'],
    },
    {
      what: 'one part a module whose file is missing',
      facts: kernel({ modules: (DEBIAN_KERNEL.modules ?? []).filter((name) => name !== 'nft_compat') }),
      verdict: 'warning',
      says: ['has NFT_COMPAT'],
    },
  ],
  'kernel-calico': [
    { what: 'as modules', versions: CALICO, verdict: 'ok', says: ['felix'] },
    ...['IP_SET_HASH_NET', 'NETFILTER_XT_SET', 'IP_NF_MATCH_RPFILTER', 'NETFILTER_XT_MARK'].map(
      (option): Case => ({
        what: `without ${option}`,
        versions: CALICO,
        facts: without(option),
        verdict: 'error',
        says: [`has no ${option}: needed for Calico's rules`],
      }),
    ),
  ],
  'kernel-routing': [
    { what: 'built in', verdict: 'ok', says: ['there, for'] },
    {
      what: 'without rules',
      facts: without('IP_MULTIPLE_TABLES'),
      verdict: 'error',
      says: ['keeps lab traffic in the lab'],
    },
    { what: 'without ECMP', facts: without('IP_ROUTE_MULTIPATH'), verdict: 'error', says: ['ECMP'] },
  ],
  'kernel-tcp-md5': [
    { what: 'built in', verdict: 'ok', says: ['BGP passwords'] },
    { what: 'left out', facts: without('TCP_MD5SIG'), verdict: 'error', says: ['has no TCP_MD5SIG'] },
    {
      what: 'not to be told, and no module that could be loaded',
      facts: { kernel: SILENT },
      verdict: 'warning',
      says: ["zgrep -E 'TCP_MD5SIG' /proc/config.gz"],
    },
  ],
  'kernel-packet': [
    { what: 'built in', verdict: 'ok', says: ['captures'] },
    {
      what: 'left out',
      facts: without('PACKET'),
      verdict: 'warning',
      says: ['has no PACKET', 'where a packet is lost'],
    },
  ],
};
