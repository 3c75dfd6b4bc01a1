import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Executor } from '../../exec/executor.ts';
import { LabFailure } from '../../shared/errors.ts';
import type { DaemonHost } from './daemon.ts';

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

/**
 * Puts the rule in place. Returns whether it was missing. Throws LabFailure where the daemon has the bridge and the host has
 * not: what is for the lab's machines would leave by the host's default route then.
 */
export async function ensurePolicyRule(local: Executor, bridge: string): Promise<boolean> {
  const find = async () => (await bridgesWithRule(local)).find((each) => each.bridge === bridge);
  const isMissing = (await find()) === undefined;
  if (isMissing) await local.run(['ip', 'rule', 'add', ...ruleOf(bridge)]);
  if ((await find())?.isGone)
    throw new LabFailure(
      `The interface ${bridge} of this host is gone, although the container daemon has its network.`,
      {
        details: ['somebody else has removed it; the machines have lost their links with it'],
        next: 'npx labdown --yes && npx labup --yes',
      },
    );
  return isMissing;
}

/**
 * Asks for a neighbour's address ten times a second instead of once: a machine that boots is found up to a second sooner.
 * A setting of the bridge, and gone with it (ip-ntable(8)).
 */
export async function askNeighboursOften(local: Executor, bridge: string): Promise<void> {
  await local.run(['ip', 'ntable', 'change', 'name', 'arp_cache', 'dev', bridge, 'retrans', '100']);
}

/** Takes away the rules of these bridges, and those whose bridge is gone; one that is gone already is no error. */
export async function removePolicyRules(local: Executor, bridges: readonly string[]): Promise<void> {
  for (const { iif, iif_detached } of await ourRules(local)) {
    if (bridges.includes(iif) || iif_detached !== undefined) {
      await local.run(['ip', 'rule', 'del', ...ruleOf(iif)]);
    }
  }
}

/** The bridges that have the rule; `isGone`: the host has no such interface any more. */
export async function bridgesWithRule(
  local: Executor,
): Promise<readonly { readonly bridge: string; readonly isGone: boolean }[]> {
  return (await ourRules(local)).map((rule) => ({
    bridge: rule.iif,
    isGone: rule.iif_detached !== undefined,
  }));
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

/**
 * All containers share root's inotify instances, and seven booted machines with kubelets take about sixty: with the
 * kernel's default of 128 the kubelets of a second lab end with "too many open files".
 * https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
 */
const ENOUGH = 1024;

/** Raises the host's limit where it is too low, and notes what it was. Returns whether it had to. */
export async function ensureHostLimits({ limitFile, runDir }: DaemonHost): Promise<boolean> {
  const now = Number(await readFile(limitFile, 'utf8'));
  if (now >= ENOUGH) return false;
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  await writeFile(noteIn(runDir), JSON.stringify({ maxUserInstances: now }));
  await writeFile(limitFile, String(ENOUGH));
  return true;
}

/** Puts the limit back to what it was before the first lab. */
export async function restoreHostLimits({ limitFile, runDir }: DaemonHost): Promise<void> {
  const note = noteIn(runDir);
  if (!existsSync(note)) return;
  const { maxUserInstances } = JSON.parse(await readFile(note, 'utf8')) as { maxUserInstances: number };
  await writeFile(limitFile, String(maxUserInstances));
  await rm(note);
}

function noteIn(runDir: string): string {
  return join(runDir, 'limits.json');
}
