import { type Address, holderOf } from '../addresses.ts';
import type { NodeState, ProxySettings } from '../state/types.ts';
import { rulesBefore124 } from './iptables-before-124.ts';
import { rulesSince124 } from './iptables-since-124.ts';
import type { KubeProxy, Match } from './types.ts';

/** KUBE-EXT and KUBE-SVL instead of KUBE-XLB (kubernetes PR 109060); topology hints are on by default (KEP-2433, beta). */
const REWORKED = 24;
/** The last version with the rules that were seen on 1.20.2; those in between are not known. */
const LAST_SEEN = 20;
/** The fallback to terminating endpoints that still serve (KEP-1669, beta and on by default). */
const FIRST_WITH_TERMINATING = 26;
/** Hints for nodes (KEP-3015, beta and on by default). */
const FIRST_WITH_NODE_HINTS = 34;

/** The one place where a node's kube-proxy, by its mode and version, decides what is followed. */
export function kubeProxyOf(proxy: ProxySettings, node: NodeState): KubeProxy {
  const minor = minorOf(node);
  const known = minor ?? 0;
  return {
    // Where nftables rules belong, by proxy.mode.
    rules: known >= REWORKED ? rulesSince124 : rulesBefore124(known <= LAST_SEEN),
    usesTerminating: known >= FIRST_WITH_TERMINATING,
    followsZoneHints: known >= REWORKED,
    followsNodeHints: known >= FIRST_WITH_NODE_HINTS,
    isPod: holderOf(
      proxy.detectLocalMode === 'NodeCIDR' ? node.podCidrs : (proxy.clusterCidr?.split(',') ?? []),
    ),
    servesNodePortsOn: nodePortFilter(proxy, node),
    problemWith: (matches) => problemOf(proxy, node, minor, matches),
  };
}

/** The minor version of a node's kube-proxy: 20 for 1.20.2. Undefined for what is no version 1. */
function minorOf({ proxyVersion }: NodeState): number | undefined {
  const minor = /^1\.(\d+)\./.exec(proxyVersion)?.[1];
  return minor === undefined ? undefined : Number(minor);
}

function nodePortFilter(
  { nodePortAddresses }: ProxySettings,
  { addresses: [primary] }: NodeState,
): (address: Address) => boolean {
  if (nodePortAddresses.length === 0) return () => true;
  if (nodePortAddresses.includes('primary')) return (address) => address === primary;
  return holderOf(nodePortAddresses);
}

function problemOf(
  { problem, mode, detectLocalMode }: ProxySettings,
  { name, proxyVersion }: NodeState,
  minor: number | undefined,
  matches: readonly Match[],
): string | undefined {
  if (problem !== undefined) return problem;
  if (mode !== 'iptables') return `kube-proxy in ${mode} mode is not modelled, only iptables`;
  if (!['ClusterCIDR', 'NodeCIDR'].includes(detectLocalMode))
    return `kube-proxy's detectLocalMode ${detectLocalMode} is not modelled`;
  if (minor === undefined) return `kube-proxy ${proxyVersion} on ${name} is not modelled`;
  if (minor <= LAST_SEEN || minor >= REWORKED) return undefined;
  if (matches.some(({ role }) => role === 'external-ip'))
    return `the rules for external addresses of Kubernetes 1.21 to 1.23 are not modelled (${name})`;
  if (matches.some(({ service }) => service.internalPolicy === 'Local'))
    return `internalTrafficPolicy of Kubernetes 1.21 to 1.23 is not modelled (${name})`;
  return undefined;
}
