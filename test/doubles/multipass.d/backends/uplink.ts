import { lookup } from 'node:dns/promises';
import { findDebianSource } from '../../../../scripts/artifacts/debian.ts';
import { localExecutor } from '../../../../scripts/exec/local.ts';
import type { Knobs } from '../knobs.ts';

/**
 * Host-side routing rules for the double's bridge, which has an uplink: the package mirror is reached, wherever it is, and
 * nothing else. Names are resolved by the host itself (the bridge's dnsmasq).
 */
const FORBIDDEN = ['2.2.2.2/32', '5.5.5.5/32', '10.96.0.0/12', '10.255.0.0/16'];
/** Marks the rules as the double's; numbers above 4 are free for administrators (ip-rule(8), rtnetlink.h). */
const PROTOCOL = '214';
const FIRST_PRIORITY = 13100;

type Rule = readonly string[];

/** Puts the rules in place; those of an earlier call are replaced. */
export async function guardUplink(knobs: Knobs): Promise<void> {
  const local = localExecutor();
  await unguardUplink(knobs);
  for (const [at, rule] of rulesFor(knobs, await mirrorAddresses()).entries()) {
    const priority = String(FIRST_PRIORITY + at);
    await local.run([
      'ip',
      'rule',
      'add',
      'iif',
      knobs.bridge,
      ...rule,
      'priority',
      priority,
      'protocol',
      PROTOCOL,
    ]);
  }
}

/** Takes this bridge's rules away. */
export async function unguardUplink({ bridge }: Pick<Knobs, 'bridge'>): Promise<void> {
  const local = localExecutor();
  const { stdout } = await local.run(['ip', '-j', '-N', 'rule', 'show']);
  const rules = (stdout.trim() === '' ? [] : JSON.parse(stdout)) as readonly {
    readonly priority: number;
    readonly iif?: string;
    readonly protocol?: string;
  }[];
  for (const { priority, iif, protocol } of rules) {
    if (iif !== bridge || String(protocol) !== PROTOCOL) continue;
    await local.run(['ip', 'rule', 'del', 'iif', bridge, 'priority', String(priority), 'protocol', PROTOCOL]);
  }
}

/** The rules in their order; the first that fits a packet decides. */
export function rulesFor({ subnet }: Pick<Knobs, 'subnet'>, mirrors: readonly string[]): readonly Rule[] {
  return [
    ['to', subnet, 'lookup', 'main'],
    ...FORBIDDEN.map((prefix) => ['to', prefix, 'prohibit']),
    ...mirrors.map((address) => ['from', subnet, 'to', `${address}/32`, 'lookup', 'main']),
    ['prohibit'],
  ];
}

async function mirrorAddresses(): Promise<readonly string[]> {
  const { mirror, aptOptions } = await findDebianSource(localExecutor());
  const urls = [
    mirror.main,
    mirror.security,
    ...aptOptions.flatMap((option) => /"(https?:[^"]+)"/.exec(option)?.[1] ?? []),
  ];
  const hosts = new Set(urls.filter((url) => /^https?:/.test(url)).map((url) => new URL(url).hostname));
  const found = await Promise.all([...hosts].map((host) => lookup(host, { family: 4, all: true })));
  return [...new Set(found.flat().map(({ address }) => address))];
}
