import { type Address, holderOf } from '../addresses.ts';
import { type MachineState, MODELLED_MODES, type NodeState, type ProxySettings } from '../state/types.ts';
import { rulesBefore124 } from './iptables-before-124.ts';
import { rulesSince124 } from './iptables-since-124.ts';
import { rulesOfNftables } from './nftables.ts';
import type { KubeProxy, Lookup, Match } from './types.ts';

/** KUBE-EXT and KUBE-SVL instead of KUBE-XLB (kubernetes PR 109060); topology hints are on by default (KEP-2433, beta). */
const REWORKED = 24;
/** KUBE-PROXY-FIREWALL instead of KUBE-MARK-DROP. */
const FIRST_WITH_FIREWALL = 25;
/** The last version with the rules that were seen on 1.20.2; those in between are not known. */
const LAST_SEEN = 20;
/** The fallback to terminating endpoints that still serve (KEP-1669, beta and on by default). */
const FIRST_WITH_TERMINATING = 26;
/** Hints count whatever a service's annotation says (KEP-4444, beta and on by default). */
const FIRST_WITHOUT_ANNOTATION = 31;
/** nftables mode (KEP-3866) is beta: its rules of before are not known. */
const FIRST_WITH_NFTABLES = 31;
/** Hints for nodes (KEP-3015, beta and on by default). */
const FIRST_WITH_NODE_HINTS = 34;

/** What a node is asked for to tell what its kube-proxy does. */
export interface ProxyNode {
  readonly state: MachineState;
  readonly node: NodeState;
  isOwn(address: Address): boolean;
  lookup(address: Address): Lookup;
}

/** The one place where a node's kube-proxy, by its mode and version, decides what is followed. */
export function kubeProxyOf(proxy: ProxySettings, on: ProxyNode): KubeProxy {
  const minor = minorOf(on.node);
  const known = minor ?? 0;
  const detector = detectorOf(proxy, on);
  return {
    rules:
      proxy.mode === 'nftables'
        ? rulesOfNftables
        : known >= REWORKED
          ? rulesSince124(known >= FIRST_WITH_FIREWALL)
          : rulesBefore124(known <= LAST_SEEN),
    usesTerminating: known >= FIRST_WITH_TERMINATING,
    followsZoneHints: known < REWORKED ? 'never' : known < FIRST_WITHOUT_ANNOTATION ? 'annotated' : 'always',
    followsNodeHints: known >= FIRST_WITH_NODE_HINTS,
    masqueradesAll: proxy.masqueradeAll,
    isDetecting: detector !== undefined,
    isPod: detector ?? (() => false),
    servesNodePortsOn: nodePortFilter(proxy, on),
    problemWith: (matches) => problemOf(proxy, on.node, minor, matches),
  };
}

/** The minor version of a node's kube-proxy: 20 for 1.20.2. Undefined for what is no version 1. */
function minorOf({ proxyVersion }: NodeState): number | undefined {
  const minor = /^1\.(\d+)\./.exec(proxyVersion)?.[1];
  return minor === undefined ? undefined : Number(minor);
}

/** How it tells what pods send; undefined where it cannot (pkg/proxy/util/localdetector.go). */
function detectorOf(
  { detectLocalMode, clusterCidr, podInterface }: ProxySettings,
  { node: { podCidrs }, lookup }: ProxyNode,
): ((source: Address) => boolean) | undefined {
  switch (detectLocalMode) {
    case 'NodeCIDR':
      return podCidrs.length === 0 ? undefined : holderOf(podCidrs);
    case 'BridgeInterface':
    case 'InterfaceNamePrefix': {
      if (podInterface === undefined) return undefined;
      const isIt = (name: string) =>
        detectLocalMode === 'BridgeInterface' ? name === podInterface : name.startsWith(podInterface);
      // What comes in by an interface has its way back there.
      return (source) => {
        const found = lookup(source);
        return found.kind === 'route' && found.route.hops.some((hop) => isIt(hop.interface));
      };
    }
    default:
      return clusterCidr === undefined ? undefined : holderOf(clusterCidr.split(','));
  }
}

function nodePortFilter(
  { mode, nodePortAddresses, localhostNodePorts }: ProxySettings,
  { state: { routeLocalnet }, node: { addresses }, isOwn }: ProxyNode,
): (address: Address) => boolean {
  const isNft = mode === 'nftables';
  const isAsked =
    nodePortAddresses.includes('primary') || (isNft && nodePortAddresses.length === 0)
      ? (address: Address) => address === addresses[0]
      : nodePortAddresses.length === 0
        ? () => true
        : holderOf(nodePortAddresses);
  const onLoopback = !isNft && localhostNodePorts && routeLocalnet;
  return (address) => isOwn(address) && (!address.startsWith('127.') || onLoopback) && isAsked(address);
}

function problemOf(
  { problem, mode }: ProxySettings,
  { name, proxyVersion }: NodeState,
  minor: number | undefined,
  matches: readonly Match[],
): string | undefined {
  if (problem !== undefined) return problem;
  if (!MODELLED_MODES.includes(mode))
    return `kube-proxy in ${mode} mode is not modelled, only ${MODELLED_MODES.join(' and ')}`;
  if (minor === undefined || (mode === 'nftables' && minor < FIRST_WITH_NFTABLES))
    return `kube-proxy ${proxyVersion} in ${mode} mode on ${name} is not modelled`;
  if (minor <= LAST_SEEN || minor >= REWORKED) return undefined;
  if (matches.some(({ role }) => role === 'external-ip'))
    return `the rules for external addresses of Kubernetes 1.21 to 1.23 are not modelled (${name})`;
  if (matches.some(({ service }) => service.internalPolicy === 'Local'))
    return `internalTrafficPolicy of Kubernetes 1.21 to 1.23 is not modelled (${name})`;
  return undefined;
}
