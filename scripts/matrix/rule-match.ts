import { isIPv4 } from '../shared/ip.ts';
import { inAny } from './addresses.ts';
import { commentOf, type RuleCounter, type RuleCounters } from './proof-counters.ts';
import type { IpSets } from './state/nat.ts';
import type { Protocol } from './types.ts';

/** `unknown`: the rule asks for something that is not known of the packet. */
export type Match = 'yes' | 'no' | 'unknown';

/** What is known of a packet where a rule sees it; what is absent is not known. */
export interface RulePacket {
  readonly protocol: Protocol;
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination?: string;
  readonly port?: number;
  /** The interface that it came in by; '' where the machine itself has made it. */
  readonly in?: string;
  /** The interface that it is to leave by. */
  readonly out?: string;
  /** The service that it is for, which kube-proxy names in its comments. */
  readonly service?: string;
}

/** What is known of the machine that the rule is on. */
export interface RuleSurroundings {
  /** Where a packet comes from to the rule's chain, and what sets the marks that it asks for. */
  readonly rules: RuleCounters;
  readonly sets: IpSets;
}

/**
 * Whether a packet can match a rule of iptables-save: the rule's own conditions, and those of the rules that lead to its
 * chain or set the mark that it asks for. What counts packets is evidence of one only where this is not `no`.
 */
export function canMatch(rule: RuleCounter, packet: RulePacket, around: RuleSurroundings): Match {
  return reaches(rule, packet, around, new Set());
}

function reaches(rule: RuleCounter, packet: RulePacket, around: RuleSurroundings, seen: Set<string>): Match {
  const key = `${rule.table} ${rule.chain}`;
  const own = least([
    serviceMatches(rule, packet),
    ...conditionsOf(rule.rule).map((each) => conditionMatches(each, packet, around, seen)),
  ]);
  if (own === 'no' || seen.has(key)) return own;
  const jumps = around.rules.filter((each) => each.table === rule.table && each.target === rule.chain);
  if (jumps.length === 0) return own;
  const path = new Set([...seen, key]);
  return least([own, most(jumps.map((jump) => reaches(jump, packet, around, path)))]);
}

/** kube-proxy begins a rule's comment with "NAMESPACE/SERVICE:PORT". */
function serviceMatches(rule: RuleCounter, { service }: RulePacket): Match {
  const named = /^[\w-]+\/([\w.-]+?)(?::\S*)? /.exec(`${commentOf(rule)} `)?.[1];
  return named === undefined || service === undefined || named === service ? 'yes' : 'no';
}

/** One condition of a rule: "! -d 10.96.0.0/12". */
interface Condition {
  readonly option: string;
  readonly values: readonly string[];
  readonly isNegated: boolean;
}

const WORD = /"((?:[^"\\]|\\.)*)"|(\S+)/g;

/** The words of a rule as iptables takes them: quotes and their escapes resolved. */
export function wordsOf(rule: string): readonly string[] {
  return [...rule.matchAll(WORD)].map(([, quoted, bare]) => quoted?.replaceAll(/\\(.)/g, '$1') ?? bare ?? '');
}

function conditionsOf(rule: string): readonly Condition[] {
  const found: { option: string; values: string[]; isNegated: boolean }[] = [];
  let isNegated = false;
  for (const word of wordsOf(rule)) {
    if (word === '-j' || word === '-g') break;
    if (word === '!') isNegated = true;
    else if (/^--?[a-z]/.test(word)) {
      found.push({ option: word, values: [], isNegated });
      isNegated = false;
    } else found.at(-1)?.values.push(word);
  }
  // The chain, what loads a module, and words for the reader are no conditions.
  return found.filter(({ option }) => !['-A', '-m', '--comment'].includes(option));
}

function conditionMatches(
  { option, values, isNegated }: Condition,
  packet: RulePacket,
  around: RuleSurroundings,
  seen: Set<string>,
): Match {
  const [value = '', flags = ''] = values;
  const found = valueMatches(option, value, flags, packet, around, seen);
  if (found === 'unknown' || !isNegated) return found;
  if (found === 'no') return 'yes';
  // A mark that can be set need not be.
  return option === '--mark' ? 'unknown' : 'no';
}

function valueMatches(
  option: string,
  value: string,
  flags: string,
  packet: RulePacket,
  around: RuleSurroundings,
  seen: Set<string>,
): Match {
  switch (option) {
    case '-p':
      return matchOf(['all', packet.protocol, packet.protocol === 'tcp' ? '6' : '17'].includes(value));
    case '-s':
      return addressMatches([value], packet.source);
    case '-d':
      return addressMatches([value], packet.destination);
    case '--sport':
    case '--sports':
      return portMatches(value, packet.sourcePort);
    case '--dport':
    case '--dports':
      return portMatches(value, packet.port);
    case '--ports':
      return most([portMatches(value, packet.sourcePort), portMatches(value, packet.port)]);
    case '-i':
      return interfaceMatches(value, packet.in);
    case '-o':
      return interfaceMatches(value, packet.out);
    case '--match-set':
      return setMatches(around.sets.get(value), flags, packet);
    case '--mark':
      return markMatches(value, packet, around, seen);
    default:
      return 'unknown';
  }
}

function addressMatches(prefixes: readonly string[], address: string | undefined): Match {
  // A name that nobody has resolved yet is no address.
  return address === undefined || !isIPv4(address) ? 'unknown' : matchOf(inAny(prefixes, address));
}

/** "1234", "1000:2000" or a list of both. */
function portMatches(wanted: string, port: number | undefined): Match {
  if (port === undefined) return 'unknown';
  return matchOf(
    wanted.split(',').some((range) => {
      const [first = '', last = first] = range.split(':');
      return Number(first) <= port && port <= Number(last);
    }),
  );
}

function interfaceMatches(wanted: string, name: string | undefined): Match {
  if (name === undefined) return 'unknown';
  return matchOf(wanted.endsWith('+') ? name.startsWith(wanted.slice(0, -1)) : name === wanted);
}

function setMatches(members: readonly string[] | undefined, flags: string, packet: RulePacket): Match {
  // Sets of more than addresses, "10.0.0.1,tcp:80", are not read.
  if (members === undefined || members.some((member) => member.includes(','))) return 'unknown';
  if (flags === 'src') return addressMatches(members, packet.source);
  return flags === 'dst' ? addressMatches(members, packet.destination) : 'unknown';
}

/** A packet has a mark only where a rule that it can match has set one of its bits. */
function markMatches(wanted: string, packet: RulePacket, around: RuleSurroundings, seen: Set<string>): Match {
  const bits = BigInt(wanted.split('/')[0] ?? '0');
  const key = `mark ${wanted}`;
  if (bits === 0n || seen.has(key)) return 'unknown';
  const setters = around.rules.filter(({ target, rule }) => {
    const value = target === 'MARK' ? /--set-xmark (0x[0-9a-f]+)\//.exec(rule)?.[1] : undefined;
    return value !== undefined && (BigInt(value) & bits) !== 0n;
  });
  if (setters.length === 0) return 'unknown';
  const path = new Set([...seen, key]);
  return most(setters.map((setter) => reaches(setter, packet, around, path)));
}

const ORDER: readonly Match[] = ['no', 'unknown', 'yes'];

function matchOf(holds: boolean): Match {
  return holds ? 'yes' : 'no';
}

function least(matches: readonly Match[]): Match {
  return ORDER.find((each) => matches.includes(each)) ?? 'yes';
}

function most(matches: readonly Match[]): Match {
  return ORDER.findLast((each) => matches.includes(each)) ?? 'no';
}
