import type { Power } from '../backends/backend.ts';
import { Refusal } from '../failures.ts';
import type { Instance, State } from '../instance.ts';
import { type Knobs, named } from '../knobs.ts';

/** The state that is reported: as recorded, unless the machine was switched behind the daemon's back. */
export function observed(instance: Instance, power: Power | undefined, knobs: Knobs): State {
  const { name, state, deleted, busy } = instance;
  if (deleted) return 'Deleted';
  if (named(knobs.unknownState, name)) return 'Unknown';
  if (busy !== undefined) return state;
  if (power !== 'running') return 'Stopped';
  return state === 'Unknown' ? state : 'Running';
}

/** Looks names up, all or nothing; none given means all. Throws the daemon's refusal for missing and deleted ones. */
export function select(
  all: readonly Instance[],
  names: readonly string[],
  deletedToo: boolean,
): readonly Instance[] {
  const known = all.filter(({ preparing }) => !preparing);
  if (names.length === 0) return known.filter(({ deleted }) => deletedToo || !deleted);
  const found = new Map(known.map((instance) => [instance.name, instance]));
  const wanted = [...new Set(names)];
  const deleted = wanted.filter((name) => !deletedToo && found.get(name)?.deleted === true);
  const missing = wanted.filter((name) => !found.has(name));
  const errors = [
    ...deleted.map((name) => `instance "${name}" is deleted`),
    ...missing.map((name) => `instance "${name}" does not exist`),
  ];
  if (errors.length > 0) throw new Refusal(`The following errors occurred:\n${errors.join('\n')}`);
  return wanted.flatMap((name) => found.get(name) ?? []);
}
