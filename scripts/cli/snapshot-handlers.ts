import type { Deps } from '../commands/deps.ts';
import type { LabOptions } from '../commands/lab-file.ts';
import type { SnapshotInfo } from '../commands/snapshot/kept.ts';
import {
  listSnapshots,
  removeSnapshot,
  resetLab,
  restoreSnapshot,
  saveSnapshot,
} from '../commands/snapshot/snapshot.ts';
import { table } from '../shared/text.ts';
import type { Json, Output } from './test-handlers.ts';
import { colors, durationText } from './text.ts';

type Args = LabOptions & Json;

/** The handlers of `lab snapshot` and `lab reset`. */
export function snapshotHandlers(
  use: (args: Json) => Deps,
  { print, printJson }: Pick<Output, 'print' | 'printJson'>,
) {
  const back = async (args: Args, restored: ReturnType<typeof restoreSnapshot>, deps: Deps) => {
    const { lab, snapshot, durationMs } = await restored;
    if (args.json) printJson({ schemaVersion: 1, lab, snapshot, durationMs });
    else
      deps.say(
        `${colors.green('back')}  lab "${lab}" is as it was in snapshot "${snapshot.name}" (${durationText(durationMs)})`,
      );
  };
  return {
    async save(name: string, args: Args): Promise<void> {
      const deps = use(args);
      const { lab, snapshot } = await saveSnapshot(deps, name, args);
      if (args.json) printJson({ schemaVersion: 1, lab, snapshot });
      else
        deps.say(
          `snapshot "${name}" is saved\nnext, when you want the lab back: npx lab snapshot restore ${name}`,
        );
    },

    async list(args: Args): Promise<void> {
      const { lab, snapshots } = await listSnapshots(use(args), args);
      if (args.json) printJson({ schemaVersion: 1, lab, snapshots });
      else if (snapshots.length === 0) print(`lab "${lab}" has no snapshot`);
      else print(table([['SNAPSHOT', 'TIME', 'SIZE', 'MACHINES'], ...snapshots.map(rowOf)]).join('\n'));
    },

    async restore(name: string, args: Args): Promise<void> {
      const deps = use(args);
      await back(args, restoreSnapshot(deps, name, args), deps);
    },

    async reset(args: Args): Promise<void> {
      const deps = use(args);
      await back(args, resetLab(deps, args), deps);
    },

    async remove(name: string, args: Args): Promise<void> {
      const deps = use(args);
      const { lab, snapshot } = await removeSnapshot(deps, name, args);
      if (args.json) printJson({ schemaVersion: 1, lab, removed: snapshot });
      else deps.say(`snapshot "${name}" is removed`);
    },
  };
}

function rowOf({ name, at, bytes, machines, missing, complete }: SnapshotInfo): readonly string[] {
  const size = bytes === undefined ? 'unknown' : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const without = missing.length > 0 ? `incomplete, without ${missing.join(', ')}` : 'incomplete: half made';
  // Whole seconds.
  const time = at?.replace(/\.\d+/, '') ?? 'unknown';
  return [name, time, size, complete ? `all ${machines.length}` : without];
}
