import { commentOf, type MovedRule, movedRules, optionOf } from '../matrix/proof-counters.ts';
import type { Cell } from '../matrix/types.ts';
import type { FlowPacket, RouteAnswer, Watched } from './watch.ts';

/** What ends a packet. KUBE-MARK-DROP is the rule that knows why; KUBE-FIREWALL, which drops, only knows the mark. */
const STOPS = ['DROP', 'REJECT', 'KUBE-MARK-DROP'];
/** What changes a packet's source. */
const SOURCES = ['SNAT', 'MASQUERADE'];

/** The rules that stopped something like a cell's packets while a machine was watched, the one that tells most first. */
export function stoppingRulesOf(
  watched: Watched,
  cell: Cell,
  ports: readonly number[],
): readonly MovedRule[] {
  const moved = movedRules(watched.before, watched.after).filter(
    (rule) => STOPS.includes(rule.target) && canMatch(rule, cell, ports),
  );
  const tells = ({ target, rule }: MovedRule) =>
    target === 'KUBE-MARK-DROP' ? 1 : rule.includes('--mark 0x8000') ? 2 : 0;
  return [...moved].sort((a, b) => tells(a) - tells(b));
}

/** False for a rule that is about another protocol, port or service: something else was stopped by it. */
function canMatch(rule: MovedRule, { protocol, service }: Cell, ports: readonly number[]): boolean {
  const wanted = optionOf(rule, '-p');
  const port = optionOf(rule, '--dport') ?? optionOf(rule, '--sport');
  const named = /^[\w-]+\/([\w.-]+?)(?::\S*)? /.exec(`${commentOf(rule)} `)?.[1];
  return (
    (wanted === undefined || wanted === protocol || wanted === 'all') &&
    (port === undefined || ports.includes(Number(port))) &&
    (named === undefined || named === service)
  );
}

/** The rules that changed a source address while a machine was watched. */
export function sourceRulesOf(watched: Watched): readonly MovedRule[] {
  return movedRules(watched.before, watched.after).filter(({ target }) => SOURCES.includes(target));
}

/** The rules that chose a new destination while a machine was watched. */
export function destinationRulesOf(watched: Watched, destination: string): readonly MovedRule[] {
  return movedRules(watched.before, watched.after).filter(
    ({ target, rule }) => target === 'DNAT' && rule.includes(` ${destination}`),
  );
}

/** The rules that led packets to a port of the machine itself while it was watched. */
export function localRulesOf(watched: Watched): readonly MovedRule[] {
  return movedRules(watched.before, watched.after).filter(({ target }) => target === 'REDIRECT');
}

/** A rule in the words that name it: its chain and kube-proxy's comment, or the whole rule, and how far it moved. */
export function ruleText(rule: MovedRule): string {
  const comment = commentOf(rule);
  const name =
    comment === '' ? `"${rule.rule.replace(/^-A /, '')}"` : `${rule.chain} "${comment}" -j ${rule.target}`;
  const packets =
    rule.moved === undefined ? 'set back meanwhile' : `+${rule.moved} packet${rule.moved === 1 ? '' : 's'}`;
  return `rule ${name} (${packets})`;
}

/** The lines of connection tracking that are about a packet. */
export function conntrackOf(watched: Watched, packet: FlowPacket): readonly string[] {
  const marks = [`src=${packet.source}`, `sport=${packet.sourcePort}`, `dport=${packet.port}`];
  return watched.conntrack.filter((line) => {
    const words = line.split(' ');
    return marks.every((mark) => words.includes(mark));
  });
}

/** Where the kernel said that it would send a packet. */
export function routeText(route: RouteAnswer): string {
  if (route.error !== undefined) return `no way: ${route.error}`;
  const by = route.gateway === undefined ? 'on the link' : `by ${route.gateway}`;
  const kind = route.type === undefined ? '' : `${route.type} `;
  return `${kind}${by} dev ${route.dev ?? '?'}`;
}
