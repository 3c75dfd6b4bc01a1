import type { Executor } from '../../exec/executor.ts';

/**
 * The host side of "lab traffic stays in the lab": a routing rule that refuses to forward anything that comes from the
 * lab bridge. Packets to the host itself are not concerned, as the local table comes first. A rule needs no firewall,
 * and holds even where something else on the host switches forwarding on.
 */
const PRIORITY = '13013';
/** Marks the rule as ours; numbers above 4 are free for administrators (ip-rule(8), rtnetlink.h). */
const PROTOCOL = '213';

interface Rule {
  readonly priority: number;
  readonly iif?: string;
  readonly protocol?: string;
  /** Present where the bridge is gone. */
  readonly iif_detached?: null;
}

/** Puts the rule in place. Returns whether it was missing. */
export async function ensurePolicyRule(local: Executor, bridge: string): Promise<boolean> {
  if ((await bridgesWithRule(local)).includes(bridge)) return false;
  await local.run(['ip', 'rule', 'add', ...ruleOf(bridge)]);
  return true;
}

/** Takes away the rules of these bridges, and those whose bridge is gone; one that is gone already is no error. */
export async function removePolicyRules(local: Executor, bridges: readonly string[]): Promise<void> {
  for (const { iif, iif_detached } of await ourRules(local)) {
    if (bridges.includes(iif) || iif_detached !== undefined) {
      await local.run(['ip', 'rule', 'del', ...ruleOf(iif)]);
    }
  }
}

/** The bridges that have the rule, whether they still exist or not. */
export async function bridgesWithRule(local: Executor): Promise<readonly string[]> {
  return (await ourRules(local)).map(({ iif }) => iif);
}

async function ourRules(local: Executor): Promise<readonly (Rule & { readonly iif: string })[]> {
  const { stdout } = await local.run(['ip', '-j', '-N', 'rule', 'show']);
  const rules = (stdout.trim() === '' ? [] : JSON.parse(stdout)) as readonly Rule[];
  return rules.filter(
    (rule): rule is Rule & { readonly iif: string } =>
      String(rule.priority) === PRIORITY && String(rule.protocol) === PROTOCOL && rule.iif !== undefined,
  );
}

function ruleOf(bridge: string): readonly string[] {
  return ['iif', bridge, 'priority', PRIORITY, 'protocol', PROTOCOL, 'prohibit'];
}
