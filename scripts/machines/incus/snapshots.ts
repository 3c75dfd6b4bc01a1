import { type LabPlan, theMachine } from '../../plan/types.ts';
import { LabFailure } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { type KeptDisk, notDone, onEach, type SnapshotTime } from '../driver.ts';
import type { IncusApi } from './api.ts';
import { type Instance, ownInstances, setState, waitForOperations } from './instances.ts';
import { inProject, poolOf } from './resources.ts';

interface InstanceSnapshot {
  readonly name: string;
  readonly created_at: string;
  /** -1 or absent where the storage driver does not count. */
  readonly size?: number;
}

/** Every snapshot of the lab's own instances. */
export async function listSnapshots(api: IncusApi, lab: string): Promise<readonly KeptDisk[]> {
  const kept = await Promise.all(
    (await ownInstances(api, lab)).map(async ({ name: machine }) => {
      const path = inProject(lab, `/1.0/instances/${machine}/snapshots`, 'recursion=1');
      const all = (await api.get<readonly InstanceSnapshot[]>(path)) ?? [];
      return all.map(({ name, created_at: at, size = -1 }) => ({
        // The daemon may say it with its instance before it.
        snapshot: name.slice(name.lastIndexOf('/') + 1),
        machine,
        at,
        bytes: size > 0 ? size : undefined,
      }));
    }),
  );
  return kept.flat();
}

/** What the lab's storage pool makes of a copy; undefined where it shares all blocks. */
export async function costOfSnapshot(api: IncusApi, lab: string): Promise<string | undefined> {
  const pool = await api.get<{ readonly driver: string }>(`/1.0/storage-pools/${poolOf(lab)}`);
  return pool?.driver === 'dir'
    ? 'the storage pool is a plain folder, where every disk is copied whole: btrfs-progs on this host, then npx labdown --yes && npx labup --yes, makes that quick'
    : undefined;
}

/**
 * Takes a snapshot of every machine: what a kill of all its processes leaves, and no write is lost (btrfs writes out what the
 * kernel still holds). For one time all machines are frozen meanwhile, so that none is newer than another.
 */
export async function saveSnapshot(
  api: IncusApi,
  plan: LabPlan,
  name: string,
  when: SnapshotTime,
  emit: Emit,
): Promise<void> {
  const { lab } = plan;
  await waitForOperations(api, lab);
  const instances = await ownInstances(api, lab);
  const down = plan.machines.filter(
    (machine) => instances.find((each) => each.name === machine.name)?.status !== 'Running',
  );
  if (down.length > 0)
    throw new LabFailure(`Not running: ${down.map((machine) => machine.name).join(', ')}.`, {
      next: 'npx labup --yes',
    });
  try {
    if (when === 'at-one-time') {
      const frozen = await onEach(instances, (each) => setState(api, lab, each.name, 'freeze'));
      if (frozen.failed.length > 0) throw notDone('Not frozen', frozen.failed, SAVE_AGAIN);
      emit({ type: 'note', text: `${instances.length} machines frozen` });
    }
    const saved = await onEach(instances, (each) =>
      api.post(inProject(lab, `/1.0/instances/${each.name}/snapshots`), { name, stateful: false }),
    );
    if (saved.failed.length > 0) throw notDone('Not saved', saved.failed, SAVE_AGAIN);
  } finally {
    await thaw(api, lab);
  }
}

const SAVE_AGAIN = 'npx lab snapshot save NAME   (with the same name: what is half made is made again)';

/**
 * Stops all machines and puts back the disk of each. The control plane, which all others wait for, is first and starts at
 * once: it needs seconds until it can use a second processor, and LXD needs those for the other disks.
 */
export async function putBackSnapshot(api: IncusApi, plan: LabPlan, name: string): Promise<void> {
  const { lab } = plan;
  await waitForOperations(api, lab);
  const instances = await ownInstances(api, lab);
  const [first, rest] = controlPlaneFirst(plan, instances);
  const putBack = (each: Instance) =>
    api.put(inProject(lab, `/1.0/instances/${each.name}`), { restore: name });
  const stopped = await onEach(
    instances.filter(({ status }) => status !== 'Stopped'),
    (each) => setState(api, lab, each.name, 'stop'),
  );
  const restore = `npx lab snapshot restore ${name}`;
  if (stopped.failed.length > 0) throw notDone('Not stopped', stopped.failed, restore);
  const begun = await onEach(first, putBack);
  const [others, started] = await Promise.all([
    onEach(rest, putBack),
    onEach(begun.failed.length > 0 ? [] : first, (each) => setState(api, lab, each.name, 'start')),
  ]);
  const failed = [...begun.failed, ...others.failed];
  if (failed.length > 0) throw notDone('Not put back', failed, restore);
  if (started.failed.length > 0) throw notDone('Not started', started.failed, restore);
}

/** Starts every machine that is stopped; first the control plane, which all others wait for. */
export async function startAll(api: IncusApi, plan: LabPlan): Promise<void> {
  const { lab } = plan;
  const stopped = (await ownInstances(api, lab)).filter(({ status }) => status === 'Stopped');
  const [first, rest] = controlPlaneFirst(plan, stopped);
  const start = ({ name }: Instance) => setState(api, lab, name, 'start');
  const begun = await onEach(first, start);
  const others = await onEach(rest, start);
  const failed = [...begun.failed, ...others.failed];
  if (failed.length > 0) throw notDone('Not started', failed);
}

function controlPlaneFirst(
  plan: LabPlan,
  instances: readonly Instance[],
): [readonly Instance[], readonly Instance[]] {
  const { name } = theMachine(plan, 'control-plane');
  return [instances.filter((each) => each.name === name), instances.filter((each) => each.name !== name)];
}

/** Removes this snapshot of every instance that has it. */
export async function removeSnapshot(api: IncusApi, lab: string, name: string): Promise<void> {
  const holders = (await listSnapshots(api, lab)).filter(({ snapshot }) => snapshot === name);
  await Promise.all(
    holders.map(({ machine }) => api.remove(inProject(lab, `/1.0/instances/${machine}/snapshots/${name}`))),
  );
}

/** Lets those machines run on that a snapshot, or a killed one, has frozen. */
async function thaw(api: IncusApi, lab: string): Promise<void> {
  const frozen = (await ownInstances(api, lab)).filter(({ status }) => status === 'Frozen');
  const { failed } = await onEach(frozen, ({ name }) => setState(api, lab, name, 'unfreeze'));
  if (failed.length > 0) throw notDone('Still frozen', failed);
}
