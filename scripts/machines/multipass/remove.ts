import pLimit from 'p-limit';
import { LabFailure, messageOf } from '../../shared/errors.ts';
import { kindOf, type Listed } from './client.ts';
import { ASKED_AT_ONCE, listInstances, type MultipassHost, mayStillCome, waitForState } from './host.ts';
import { type Ownership, ownershipOf } from './ownership.ts';

/**
 * Removes every instance of a lab for good, by exact names, and nothing else: no bare purge, no setting. Works without
 * the state folder; without the registry it finds those that run. Throws LabFailure naming what could not be removed.
 */
export async function removeMachines(host: MultipassHost, lab: string): Promise<void> {
  const noted = await host.registry.of(lab);
  const listed = await listForRemoval(host, noted.size > 0);
  if (listed === undefined) return;
  const late = [...noted].filter(([name, entry]) => mayStillCome(entry, host.patience) && !listed.has(name));
  const all =
    late.length === 0
      ? listed
      : await waitForLate(
          host,
          late.map(([name]) => name),
        );
  const ownerships = await ownershipsOf(host, lab, all);
  const ours = ownerships.filter(({ whose }) => whose === 'ours').map(({ name }) => name);
  if (ours.length > 0) host.emit({ type: 'note', text: `removing ${ours.join(', ')}` });
  await purgeInstances(host, ours);
  for (const each of ownerships) {
    if (each.whose === 'foreign' && noted.has(each.name)) {
      host.emit({ type: 'warning', text: `${each.name} is not this lab's and is left alone: ${each.why}` });
    }
  }
  for (const [name, entry] of noted) {
    // The note of one that may still come stays, and `observe` tells of it.
    if (all.has(name) || !mayStillCome(entry, host.patience)) await host.registry.forget(name);
  }
}

/** All instances; undefined where nothing is noted of the lab and Multipass is not there to be asked. */
async function listForRemoval(
  host: MultipassHost,
  required: boolean,
): Promise<ReadonlyMap<string, Listed> | undefined> {
  if (required) return listInstances(host);
  return host.client.list().catch((error: unknown) => {
    if (kindOf(error) === undefined) throw error;
    if (kindOf(error) !== 'not-installed') host.emit({ type: 'note', text: messageOf(error) });
    return undefined;
  });
}

async function waitForLate(
  host: MultipassHost,
  names: readonly string[],
): Promise<ReadonlyMap<string, Listed>> {
  return waitForState(host, {
    what: `an interrupted launch of ${names.join(', ')} to show itself`,
    timeoutMs: host.patience.lateLaunch,
    look: async () => {
      const listed = await listInstances(host);
      const missing = names.filter((name) => !listed.has(name));
      return missing.length === 0
        ? { done: true, value: listed }
        : { done: false, why: `not there: ${missing.join(', ')}` };
    },
  }).catch(async (error: unknown) => {
    if (!(error instanceof LabFailure)) throw error;
    return listInstances(host);
  });
}

/** Those that are noted as the lab's, and those that run and are noted as nobody's: they may say that they are. */
async function ownershipsOf(
  host: MultipassHost,
  lab: string,
  listed: ReadonlyMap<string, Listed>,
): Promise<readonly Ownership[]> {
  const entries = await host.registry.all();
  // In a fixed order; Multipass lists in none.
  const all = [...listed.values()].sort((a, b) => a.name.localeCompare(b.name));
  const candidates = all.filter(({ name, state }) => {
    const entry = entries.get(name);
    return entry === undefined ? state === 'Running' : entry.lab === lab;
  });
  return pLimit(ASKED_AT_ONCE).map(candidates, (each) =>
    ownershipOf(host, lab, each.name, each, entries.get(each.name)),
  );
}

const TRIES = 3;

/**
 * Removes exactly these instances for good; one that is gone is no error. Never a bare `multipass purge`, which takes
 * everybody's deleted instances. Throws LabFailure naming those that are still there afterwards, and MultipassRefusal.
 */
export async function purgeInstances(host: MultipassHost, names: readonly string[]): Promise<void> {
  let left = names;
  let last: unknown;
  for (let attempt = 1; left.length > 0 && attempt <= TRIES; attempt++) {
    last = await purgeOnce(host, left);
    // Where one of several names is gone, Multipass does nothing for any; so what is left is asked for again.
    const listed = await listInstances(host);
    left = left.filter((name) => listed.has(name));
  }
  if (left.length === 0) return;
  throw new LabFailure(`Not removed: ${left.join(', ')}.`, {
    details: [last === undefined ? 'multipass delete ended well, and they are still there' : messageOf(last)],
    next: `multipass stop --force ${left.join(' ')}; npx labdown --yes`,
    cause: last,
  });
}

/** The error of one attempt, if it had one that another attempt may not have. */
async function purgeOnce(host: MultipassHost, names: readonly string[]): Promise<unknown> {
  try {
    await host.exclusive(() => host.client.purge(names));
    return undefined;
  } catch (error) {
    const kind = kindOf(error);
    if (kind === undefined || kind === 'not-installed') throw error;
    host.emit({ type: 'note', text: messageOf(error) });
    // One that is starting may not be shut down without force, or is only after its start has timed out.
    if (kind === 'busy' || kind === 'timeout') await powerOff(host, names);
    return error;
  }
}

async function powerOff(host: MultipassHost, names: readonly string[]): Promise<void> {
  const listed = await listInstances(host);
  const isOff = (name: string) => ['Stopped', 'Deleted', undefined].includes(listed.get(name)?.state);
  for (const name of names.filter((each) => !isOff(each))) {
    await host
      .exclusive(() => host.client.powerOff(name))
      .catch((error: unknown) => {
        if (kindOf(error) === undefined) throw error;
        host.emit({ type: 'note', text: messageOf(error) });
      });
  }
}
