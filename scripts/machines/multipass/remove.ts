import { LabFailure, messageOf } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import type { Listed } from './client.ts';
import { kindOf } from './failure.ts';
import { listInstances, type MultipassHost } from './host.ts';
import { ASKED_AT_ONCE } from './machines.ts';
import { waitForState } from './patience.ts';
import { purgeInstances } from './purge.ts';
import { type Standing, standingOf } from './standing.ts';
import { allInParallel } from './turns.ts';

/**
 * Removes every instance of a lab for good, by exact names, and nothing else: no bare purge, no setting. Works without
 * the state folder; without the registry it finds those that run. Throws LabFailure naming what could not be removed.
 */
export async function removeMachines(host: MultipassHost, lab: string, emit: Emit): Promise<void> {
  const noted = await host.registry.of(lab);
  const listed = await listForRemoval(host, noted.size > 0, emit);
  if (listed === undefined) return;
  const late = [...noted].filter(([name, { launched }]) => !launched && !listed.has(name));
  const all =
    late.length === 0
      ? listed
      : await waitForLate(
          host,
          late.map(([name]) => name),
          emit,
        );
  const standings = await standingsOf(host, lab, all);
  const ours = standings.filter(({ whose }) => whose === 'ours').map(({ name }) => name);
  if (ours.length > 0) emit({ type: 'note', text: `removing ${ours.join(', ')}` });
  await purgeInstances(host, ours, emit);
  for (const each of standings) {
    if (each.whose === 'foreign' && noted.has(each.name)) {
      emit({ type: 'warning', text: `${each.name} is not this lab's and is left alone: ${each.why}` });
    }
  }
  for (const [name, { launched }] of noted) {
    // One whose launch nobody saw the end of, and that is not there yet, may still come: its note stays.
    if (launched || all.has(name)) await host.registry.forget(name);
    else {
      const text = `The daemon may still be launching ${name}. Should it appear (multipass list): npx labdown --yes`;
      emit({ type: 'warning', text });
    }
  }
}

/** All instances; undefined where nothing is noted of the lab and Multipass is not there to be asked. */
async function listForRemoval(
  host: MultipassHost,
  required: boolean,
  emit: Emit,
): Promise<ReadonlyMap<string, Listed> | undefined> {
  if (required) return listInstances(host, emit);
  return host.client.list().catch((error: unknown) => {
    if (kindOf(error) === undefined) throw error;
    if (kindOf(error) !== 'not-installed') emit({ type: 'note', text: messageOf(error) });
    return undefined;
  });
}

async function waitForLate(
  host: MultipassHost,
  names: readonly string[],
  emit: Emit,
): Promise<ReadonlyMap<string, Listed>> {
  return waitForState(host, {
    what: `an interrupted launch of ${names.join(', ')} to show itself`,
    timeoutMs: host.patience.lateLaunch,
    emit,
    look: async () => {
      const listed = await listInstances(host, emit);
      const missing = names.filter((name) => !listed.has(name));
      return missing.length === 0
        ? { done: true, value: listed }
        : { done: false, why: `not there: ${missing.join(', ')}` };
    },
  }).catch(async (error: unknown) => {
    if (!(error instanceof LabFailure)) throw error;
    return listInstances(host, emit);
  });
}

/** Those that are noted as the lab's, and those that run and are noted as nobody's: they may say that they are. */
async function standingsOf(
  host: MultipassHost,
  lab: string,
  listed: ReadonlyMap<string, Listed>,
): Promise<readonly Standing[]> {
  const entries = await host.registry.all();
  // In a fixed order; Multipass lists in none.
  const all = [...listed.values()].sort((a, b) => a.name.localeCompare(b.name));
  const candidates = all.filter(({ name, state }) => {
    const entry = entries.get(name);
    return entry === undefined ? state === 'Running' : entry.lab === lab;
  });
  return allInParallel(ASKED_AT_ONCE, candidates, (each) =>
    standingOf(host, lab, each.name, each, entries.get(each.name)),
  );
}
