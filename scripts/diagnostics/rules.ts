import type { SeenRule } from '../matrix/findings.ts';
import { commentOf, type MovedRule, movedRules } from '../matrix/proof-counters.ts';
import { STOPS } from '../matrix/proof-drops.ts';
import { canMatch, type Match, type RulePacket } from '../matrix/rule-match.ts';
import type { FlowPacket, RouteAnswer, Watched } from './watch.ts';

/**
 * The rules that counted something while a machine was watched that can have been one of these packets; without any
 * packet, all that counted something.
 */
export function countingRules(
  { before, after, sets }: Watched,
  packets: readonly RulePacket[],
): readonly (MovedRule & { readonly match: Match })[] {
  const rules = movedRules(before, after);
  return rules.flatMap((rule) => {
    const matches = packets.map((packet) => canMatch(rule, packet, { rules, sets }));
    const match = (['yes', 'unknown', 'no'] as const).find((each) => matches.includes(each)) ?? 'unknown';
    return match === 'no' ? [] : [{ ...rule, match }];
  });
}

/** The rules that can have stopped one of these packets while a machine was watched, the one that tells most first. */
export function stoppingRulesOf(watched: Watched, packets: readonly RulePacket[]): readonly MovedRule[] {
  const tells = ({ target, rule, match, moved }: ReturnType<typeof countingRules>[number]) =>
    (moved === undefined ? 8 : 0) +
    (match === 'yes' ? 0 : 4) +
    (target === 'KUBE-MARK-DROP' ? 1 : rule.includes('--mark 0x8000') ? 2 : 0);
  return countingRules(watched, packets)
    .filter(({ target }) => STOPS.includes(target))
    .sort((a, b) => tells(a) - tells(b));
}

/** A rule and how far it moved, as far as a reader needs it. */
export function seenRule(rule: MovedRule): SeenRule {
  const { chain, target, moved } = rule;
  const comment = commentOf(rule);
  return { chain, rule: rule.rule, target, comment, ...(moved === undefined ? {} : { moved }) };
}

/** The rule that did it, where there is one. */
export function by(rule: MovedRule | undefined): { readonly rule?: SeenRule } {
  return rule === undefined ? {} : { rule: seenRule(rule) };
}

/** A rule in the words that name it: its chain and kube-proxy's comment, or the whole rule, and how far it moved. */
export function ruleText({ chain, rule, target, comment, moved }: SeenRule): string {
  const name = comment === '' ? `"${rule.replace(/^-A /, '')}"` : `${chain} "${comment}" -j ${target}`;
  const packets = moved === undefined ? 'set back meanwhile' : `+${moved} packet${moved === 1 ? '' : 's'}`;
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
