import { type Answer, ask, type LeaveOut, read } from '../bgp/checks/ask.ts';
import type { Executor } from '../exec/executor.ts';

/** One iptables rule with how many packets it has matched. */
export interface RuleCounter {
  readonly table: string;
  readonly chain: string;
  /** The rule as iptables-save prints it, from "-A CHAIN" on. */
  readonly rule: string;
  /** What it jumps to: DROP, REJECT, a chain ... '' for a rule that only counts. */
  readonly target: string;
  readonly packets: number;
}

export type RuleCounters = readonly RuleCounter[];

/** The rules of every node with their counters, by machine name. */
export type CountersByNode = ReadonlyMap<string, Answer<RuleCounters>>;

// Rules may be in nftables or in the kernel's older tables, whichever of the two "iptables" means on the machine. A
// program that ends within a table, because nft has put something there that is no rule of iptables, says so there.
const SAVE_RULES = `
found=
for program in iptables-nft iptables-legacy; do
  if command -v "$program-save" >/dev/null; then found=1; echo "# $program"; "$program-save" -c 2>&1 || echo "$program-save ended with $?"; fi
done
[ "$found" ] || iptables-save -c
`;

/** Asks a machine for every rule of every table of iptables, in either of its places; "# PROGRAM" comes before its rules. */
export function showCounters(): readonly string[] {
  return ['sh', '-c', SAVE_RULES];
}

/** Asks several machines at once, one call each. Throws Interrupted on abort only. */
export async function readCounters(
  executors: ReadonlyMap<string, Executor>,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<CountersByNode> {
  const all = await Promise.all(
    names.map(async (name): Promise<[string, Answer<RuleCounters>]> => {
      const executor = executors.get(name);
      if (executor === undefined)
        return [name, { ok: false, fault: 'harness', detail: 'there is no connection to it' }];
      const { counters } = await ask(executor, { counters: showCounters() }, { signal });
      return [name, read(counters, parseCounters)];
    }),
  );
  return new Map(all);
}

const RULE_LINE = /^\[(\d+):\d+\] (-A (\S+).*)$/;
const TARGET = / -[jg] (\S+)/;

/** Reads `iptables-save -c`, without the lines that are none of it. Throws where it has no table but other lines. */
export function parseCounters(text: string, leaveOut: LeaveOut = () => {}): RuleCounters {
  let table = '';
  const rules = text.split('\n').flatMap((line): RuleCounter[] => {
    if (line.startsWith('*')) table = line.slice(1).trim();
    if (line === '' || /^[#*:]|^COMMIT$/.test(line)) return [];
    const [, packets, rule, chain] = RULE_LINE.exec(line) ?? [];
    if (rule === undefined || chain === undefined) {
      leaveOut(line);
      return [];
    }
    return [{ table, chain, rule, target: TARGET.exec(rule)?.[1] ?? '', packets: Number(packets) }];
  });
  const [other] = table === '' ? text.split('\n').filter((line) => /^[^#]/.test(line)) : [];
  if (other !== undefined) throw new Error(`not a line of iptables-save -c: ${other}`);
  return rules;
}

/** A rule whose counter was not what it was before. */
export interface MovedRule extends RuleCounter {
  /** How many packets it matched in between; undefined where the counter was set back meanwhile. */
  readonly moved: number | undefined;
}

/** The rules that matched something in between, or were set back. A rule that is new counts from 0. */
export function movedRules(before: RuleCounters, after: RuleCounters): readonly MovedRule[] {
  const old = new Map(numbered(before).map(({ key, rule }) => [key, rule.packets]));
  return numbered(after).flatMap(({ key, rule }): MovedRule[] => {
    const moved = rule.packets - (old.get(key) ?? 0);
    if (moved === 0) return [];
    return [{ ...rule, moved: moved < 0 ? undefined : moved }];
  });
}

/** A chain may hold the same rule twice: the second one is another rule. */
function numbered(rules: RuleCounters) {
  const seen = new Map<string, number>();
  return rules.map((rule) => {
    const text = `${rule.table} ${rule.rule}`;
    const count = seen.get(text) ?? 0;
    seen.set(text, count + 1);
    return { key: `${text} #${count}`, rule };
  });
}

/** The value of a rule's option, e.g. "--dport". */
export function optionOf({ rule }: RuleCounter, option: string): string | undefined {
  const index = rule.indexOf(` ${option} `);
  if (index < 0) return undefined;
  return rule.slice(index + option.length + 2).split(' ')[0];
}

/** The rule's comment, which kube-proxy fills with the service port's name; '' without one. */
export function commentOf({ rule }: RuleCounter): string {
  return (
    /--comment (?:"([^"]*)"|(\S+))/
      .exec(rule)
      ?.slice(1)
      .find((text) => text !== undefined) ?? ''
  );
}
