import { z } from 'zod';
import { parseCounters } from '../matrix/proof-counters.ts';
import { wordsOf } from '../matrix/rule-match.ts';
import { NFT } from '../matrix/state/nft.ts';
import { type Action, MARK } from './fault.ts';

/** A rule, and how it is reached: what it is in decides with which program. */
export interface PlacedRule {
  /** What reads and writes it: iptables-nft, iptables-legacy, iptables where there is only one, or nft. */
  readonly program: string;
  readonly table: string;
  readonly chain: string;
  /** How many rules of its chain come before it. */
  readonly position: number;
  /** What it jumps to; '' where it does not. */
  readonly target: string;
  /** The same for the same rule, whatever it has counted. */
  readonly text: string;
  /** nft only: by which it is removed. */
  readonly handle?: number;
}

/** A line of showCounters (matrix/proof-counters.ts) from which on rules are those of this program. */
const PROGRAM = /^# (iptables-(?:nft|legacy))$/m;

/** Reads what showCounters prints. Throws where a line is no line of iptables-save. */
export function parseIptables(text: string): readonly PlacedRule[] {
  const [first = '', ...sections] = text.split(PROGRAM);
  const texts = [
    { program: 'iptables', text: first },
    ...sections.flatMap((program, index) =>
      index % 2 === 0 ? [{ program, text: sections[index + 1] ?? '' }] : [],
    ),
  ];
  return numbered(
    texts.flatMap(({ program, text: section }) =>
      parseCounters(section).map(({ table, chain, target, rule }) => ({
        program,
        table,
        chain,
        target,
        text: rule,
      })),
    ),
  );
}

const nftRule = z.looseObject({
  family: z.string(),
  table: z.string(),
  chain: z.string(),
  handle: z.number(),
  expr: z.array(z.looseObject({})),
});
const nftRuleset = z.object({ nftables: z.array(z.looseObject({ rule: nftRule.optional() })) });
/** The tables that iptables-nft keeps its rules in. */
const OF_IPTABLES = ['filter', 'nat', 'mangle', 'raw', 'security'];

/** Reads the IPv4 rules that are not those of iptables-nft from `nft -j list ruleset`; '' has none. Throws on anything else. */
export function parseNft(text: string): readonly PlacedRule[] {
  if (text.trim() === '') return [];
  const rules = nftRuleset.parse(JSON.parse(text)).nftables.flatMap(({ rule }) => rule ?? []);
  return numbered(
    rules
      .filter(({ family, table }) => family === 'ip' && !OF_IPTABLES.includes(table))
      .map(({ handle, expr, ...place }) => {
        const counted = expr.map((each) => ('counter' in each ? { counter: null } : each));
        const { target = '' } = verdictOf.parse(Object.assign({}, ...expr)).jump ?? {};
        return {
          program: 'nft',
          table: place.table,
          chain: place.chain,
          target,
          text: JSON.stringify({ ...place, expr: counted }),
          handle,
        };
      }),
  );
}

const verdictOf = z.looseObject({ jump: z.object({ target: z.string() }).optional() });

function numbered(rules: readonly Omit<PlacedRule, 'position'>[]): readonly PlacedRule[] {
  const lengths = new Map<string, number>();
  return rules.map((rule) => {
    const chain = [rule.program, rule.table, rule.chain].join(' ');
    const position = lengths.get(chain) ?? 0;
    lengths.set(chain, position + 1);
    return { ...rule, position };
  });
}

/** The programs and arguments that remove a rule, look for it, and put it back where it was. */
interface Ways {
  readonly prelude: string;
  readonly remove: string;
  readonly isThere: string;
  readonly restore: string;
  /** $1, $2 ... of all three. */
  readonly values: readonly string[];
}

function waysOf(rule: PlacedRule): Ways {
  if (rule.program === 'nft') return nftWays(rule);
  const [, chain = '', ...words] = wordsOf(rule.text);
  return {
    prelude: 'run=$1 table=$2 chain=$3 place=$4; shift 4',
    remove: '"$run" -w -t "$table" -D "$chain" "$@"',
    isThere: '"$run" -w -t "$table" -C "$chain" "$@" 2>/dev/null',
    // Where the chain is shorter by now there is no such place.
    restore:
      '"$run" -w -t "$table" -I "$chain" "$place" "$@" 2>/dev/null || "$run" -w -t "$table" -A "$chain" "$@"',
    values: [rule.program, rule.table, chain, String(rule.position + 1), ...words],
  };
}

function nftWays({ table, chain, position, handle, target, text }: PlacedRule): Ways {
  const rule: object = JSON.parse(text);
  const command = position === 0 ? { insert: { rule } } : { add: { rule: { ...rule, index: position - 1 } } };
  return {
    prelude: `${NFT}\ntable=$1 chain=$2 handle=$3 target=$4 again=$5`,
    remove: '$nft delete rule ip "$table" "$chain" handle "$handle"',
    isThere: '$nft list chain ip "$table" "$chain" | grep -q -w -e "jump $target"',
    restore: 'printf %s "$again" | $nft -j -f -',
    values: [table, chain, String(handle), target, JSON.stringify({ nftables: [command] })],
  };
}

/** Where a machine notes that a rule was taken away: only what was is put back. It does not outlive a reboot, nor do rules. */
const NOTE = `/run/${MARK}-rule`;

/** Takes a rule away. Fails where it is not there, and then nothing is to be put back. */
export function takeAway(on: string, rule: PlacedRule): Action {
  const { prelude, remove, values } = waysOf(rule);
  return {
    on,
    argv: ['sh', '-c', `${prelude}\n: >${NOTE}\n${remove} || { rm ${NOTE}; exit 1; }`, 'sh', ...values],
  };
}

/** Puts a rule back that was taken away, unless somebody else has; without one that was it does nothing. */
export function putBack(on: string, rule: PlacedRule): Action {
  const { prelude, isThere, restore, values } = waysOf(rule);
  const script = `[ -e ${NOTE} ] || exit 0\n${prelude}\n${isThere} || { ${restore}; } || exit\nrm ${NOTE}`;
  return { on, argv: ['sh', '-c', script, 'sh', ...values] };
}

/** Prints "there" or "gone". */
export function lookFor(on: string, rule: PlacedRule): Action {
  const { prelude, isThere, values } = waysOf(rule);
  return {
    on,
    argv: ['sh', '-c', `${prelude}\nif ${isThere}; then echo there; else echo gone; fi`, 'sh', ...values],
  };
}
