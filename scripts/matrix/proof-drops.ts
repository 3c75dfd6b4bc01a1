import type { EchoService, ServicePort } from './endpoints.ts';
import { servicePortName } from './expect/chain-names.ts';
import { commentOf, optionOf, type RuleCounter, type RuleCounters } from './proof-counters.ts';
import { canMatch } from './rule-match.ts';
import type { ObservedState } from './state/types.ts';
import type { Cell, CellResult, ChainStep } from './types.ts';

/** Where kube-proxy's rules have to stop a cell's connection. */
export interface DropPoint {
  /** More than one where a router spreads connections over them: each is stopped on one of these. */
  readonly nodes: readonly string[];
  readonly cell: Cell;
  /** "NAMESPACE/NAME:PORTNAME", as it is in the rules' comments; absent where the rule is for all connections. */
  readonly servicePort?: string;
  /** The chains that the connection passes on this node. */
  readonly chains: readonly string[];
  /** The same for all cells that the same rule stops, on whichever node. */
  readonly key: string;
  readonly text: string;
  /** It is a policy of Calico's that stops it. */
  readonly isPolicy?: true;
}

/** Where a node drops what it sees one direction of only (expect/one-sided.ts), whatever it is for. */
const FOR_ALL = 'KUBE-FORWARD';
/**
 * The chains of the filter table where a connection ends: KUBE-FIREWALL for what KUBE-MARK-DROP has marked,
 * KUBE-PROXY-FIREWALL for loadBalancerSourceRanges since 1.25. Those of nftables mode have no counters.
 */
const ENDS = ['KUBE-FIREWALL', 'KUBE-PROXY-FIREWALL', 'KUBE-EXTERNAL-SERVICES', 'KUBE-SERVICES'];
/**
 * What stops a packet, or marks it to be stopped. KUBE-MARK-DROP is the rule that knows why; KUBE-FIREWALL, which drops, only
 * knows the mark.
 */
export const STOPS = ['DROP', 'REJECT', 'KUBE-MARK-DROP'];

/** The node and chains where the chain of a failing cell ends in kube-proxy's rules; undefined where it ends otherwise. */
export function dropPointOf(state: ObservedState, cell: Cell): DropPoint | undefined {
  if (cell.expected.outcome === 'ok') return undefined;
  const last = cell.expected.chain.at(-1);
  const [end] = last?.chains?.slice(-1) ?? [];
  if (last?.layer !== 'rule' || end === undefined) return undefined;
  const nodes = [
    ...new Set(
      cell.expected.chain
        .filter(({ layer, chains = [] }) => layer === 'rule' && chains.at(-1) === end)
        .map(({ at }) => at),
    ),
  ];
  if (end === FOR_ALL) return { nodes, cell, chains: [end], key: end, text: last.text };
  if (POLICY.test(end)) return policyPointOf(state, cell, last);
  if (!ENDS.includes(end)) return undefined;
  const servicePort = servicePortOf(state, cell);
  if (servicePort === undefined) return undefined;
  const chains = cell.expected.chain
    .filter(({ at, layer }) => at === last.at && layer === 'rule')
    .flatMap((step) => step.chains ?? []);
  return {
    nodes,
    cell,
    servicePort,
    chains,
    key: [servicePort, ...chains, cell.address, cell.port, cell.protocol].join(' '),
    text: last.text,
  };
}

/** Calico's chains for what a pod gets and what it sends. */
export const POLICY = /^cali-[tf]w-/;
/** Those of single policies, which they jump to. */
const OWN_CHAIN = /^cali-p[io]-/;
const END_OF_TIER = /^End of tier/;

/**
 * A policy's rules are shared by all pods that it selects, so all that policies stop on one node is counted together. Where
 * Calico's rules are in nftables they have no counters.
 */
function policyPointOf({ proxy }: ObservedState, cell: Cell, last: ChainStep): DropPoint | undefined {
  if (proxy.mode === 'nftables') return undefined;
  const stops = cell.expected.chain.filter(({ chains = [] }) => POLICY.test(chains.at(-1) ?? ''));
  const nodes = [...new Set(stops.map(({ at }) => at))];
  return { nodes, cell, chains: [], key: 'policies', isPolicy: true, text: last.text };
}

function servicePortOf({ services }: ObservedState, cell: Cell): string | undefined {
  const isAddressed = ({ port, nodePort, protocol }: ServicePort) =>
    protocol === cell.protocol && (cell.kind === 'node-port' ? nodePort : port) === cell.port;
  const found = services
    .filter(({ name }: EchoService) => name === cell.service)
    .flatMap((service) => service.ports.filter(isAddressed).map((port) => servicePortName(service, port)));
  return found[0];
}

/**
 * The rules of a node that stop a connection there: KUBE-XLB-* -> KUBE-MARK-DROP (Kubernetes up to 1.23, seen on 1.20.2),
 * KUBE-EXTERNAL-SERVICES or KUBE-SERVICES -> DROP or REJECT, KUBE-FORWARD -> DROP (pkg/proxy/iptables/proxier.go).
 */
export function stoppingRules(point: DropPoint, rules: RuleCounters): RuleCounters {
  if (point.isPolicy) return rules.filter(isPolicyDrop);
  const { protocol, address: destination, port } = point.cell;
  const around = { rules, sets: new Map() };
  return rules.filter(
    (rule) =>
      STOPS.includes(rule.target) &&
      point.chains.includes(rule.chain) &&
      isNamed(point, rule) &&
      canMatch(rule, { protocol, destination, port }, around) !== 'no',
  );
}

function isPolicyDrop(rule: RuleCounter): boolean {
  if (rule.target !== 'DROP') return false;
  return OWN_CHAIN.test(rule.chain) || (POLICY.test(rule.chain) && END_OF_TIER.test(lastComment(rule)));
}

/** felix puts a hash of the rule into a comment of its own, before that for people. */
function lastComment({ rule }: RuleCounter): string {
  return [...rule.matchAll(/--comment "([^"]*)"/g)].at(-1)?.[1] ?? '';
}

function isNamed({ servicePort }: DropPoint, rule: RuleCounter): boolean {
  if (servicePort === undefined) return optionOf(rule, '--ctstate') === 'INVALID';
  return commentOf(rule).split(' ')[0] === servicePort;
}

/** When a SYN without an answer is sent once more (RFC 6298: the first retransmission timeout is 1 s). */
const RETRANSMISSION_MS = 1000;

/** How many packets a failed attempt has sent at least: a SYN that is not answered is sent again if there is time. */
export function leastPackets({ cell, observed }: CellResult, waitedMs: number): number {
  const isSilent = observed?.outcome === 'timeout' && waitedMs > RETRANSMISSION_MS;
  return cell.protocol === 'tcp' && isSilent ? 2 : 1;
}
