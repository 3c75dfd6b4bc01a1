import type { Kubectl } from '../../cluster/kubectl.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import type { KeptDisk, MachineDriver, Snapshots, SnapshotTime } from '../../machines/driver.ts';
import type { LabPlan } from '../../plan/types.ts';
import type { Emit } from '../../shared/events.ts';
import type { LabState, SnapshotRecord } from '../state.ts';
import { wrongRoutes } from '../up/cluster.ts';
import { bareRunningPods, readNodesAndPods, unready } from './cluster-state.ts';

/** The snapshot that labup takes, and `lab reset` goes back to. */
export const LABUP_SNAPSHOT = 'labup';

/** One snapshot, as `lab snapshot list` shows it. */
export interface SnapshotInfo {
  readonly name: string;
  /** Undefined where nothing is known of it but that some machine has it. */
  readonly at: string | undefined;
  /** What it takes of the storage, where that is known. */
  readonly bytes: number | undefined;
  readonly machines: readonly string[];
  /** The machines of the lab that do not have it: it cannot be restored. */
  readonly missing: readonly string[];
  /** Whether everything of it is there. */
  readonly complete: boolean;
}

/** Where the snapshots of a lab are. */
export interface Keeper {
  readonly plan: LabPlan;
  readonly state: LabState;
  readonly snapshots: Snapshots;
}

/** What a running cluster is looked at with. */
export interface Cluster {
  readonly plan: LabPlan;
  readonly kubectl: Kubectl;
  readonly machines: ReadonlyMap<string, RemoteMachine>;
}

/** What labup has at its end, when all sessions and routes are as planned. */
interface LabThatIsUp extends Cluster {
  readonly driver: MachineDriver;
  readonly state: LabState;
}

/** What labup keeps at its end, for `lab reset`: once, and where that costs nothing. Returns whether it did. */
export async function keepLabup(lab: LabThatIsUp, emit: Emit): Promise<boolean> {
  const { plan, state } = lab;
  const { snapshots } = lab.driver;
  if (snapshots === undefined || (await snapshots.cost(plan)) !== undefined) return false;
  const keeper = { plan, state, snapshots };
  const seen = (await snapshotsOf(keeper)).find(({ name }) => name === LABUP_SNAPSHOT);
  if (seen?.complete) return false;
  if (seen !== undefined) await removeOne(keeper, LABUP_SNAPSHOT, emit);
  // Nothing has to stand still for it: what changes in a lab that is up is older or newer by seconds, as after any boot.
  await keep(keeper, LABUP_SNAPSHOT, 'each', await recordOf(lab, []), emit);
  return true;
}

/** Keeps the disks, then the record: without it a snapshot is incomplete. */
export async function keep(
  { snapshots, state }: Keeper,
  name: string,
  when: SnapshotTime,
  record: SnapshotRecord,
  emit: Emit,
): Promise<void> {
  await snapshots.save(record.plan, name, when, emit);
  await state.create();
  await state.save(`snapshots/${name}`, record);
}

/** Removes a snapshot, or what there is of it. */
export async function removeOne({ snapshots, state, plan }: Keeper, name: string, emit: Emit) {
  await state.removeFile(`snapshots/${name}.json`);
  await snapshots.remove(plan, name, emit);
}

/** What is to be known of a running lab for bringing it back. `routes`: those that are not as planned. */
export async function recordOf(lab: Cluster, routes: readonly string[]): Promise<SnapshotRecord> {
  const cluster = await readNodesAndPods(lab.kubectl);
  const wrong = [...unready(cluster), ...routes];
  return { at: new Date().toISOString(), plan: lab.plan, bare: bareRunningPods(cluster), wrong };
}

/** The sessions and routes that are not as planned, by the ids of their checks. */
export async function routesNotAsPlanned(
  { kubectl, plan, machines }: Cluster,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  return (await wrongRoutes(kubectl, plan, machines, signal)).map(({ id }) => id);
}

/** All snapshots of a lab, whole ones and what killed commands left of others, the oldest first. */
export async function snapshotsOf({ plan, state, snapshots }: Keeper): Promise<readonly SnapshotInfo[]> {
  const disks = await snapshots.list(plan);
  const records = new Map<string, SnapshotRecord | undefined>();
  for (const file of await state.list('snapshots')) {
    const name = file.replace(/\.json$/, '');
    records.set(name, await state.load(`snapshots/${name}`));
  }
  const names = [...new Set([...records.keys(), ...disks.map(({ snapshot }) => snapshot)])];
  const all = names.map((name) => infoOf(name, plan, disks, records.get(name)));
  return all.sort((a, b) => (a.at ?? '').localeCompare(b.at ?? ''));
}

function infoOf(
  name: string,
  plan: LabPlan,
  disks: readonly KeptDisk[],
  record: SnapshotRecord | undefined,
): SnapshotInfo {
  const own = disks.filter(({ snapshot }) => snapshot === name);
  const missing = plan.machines
    .map((each) => each.name)
    .filter((each) => !own.some((disk) => disk.machine === each));
  const sizes = own.flatMap(({ bytes = [] }) => bytes);
  return {
    name,
    at: record?.at ?? own.flatMap(({ at = [] }) => at).sort()[0],
    bytes: sizes.length === 0 ? undefined : sizes.reduce((sum, each) => sum + each, 0),
    machines: own.map(({ machine }) => machine).sort(),
    missing,
    complete: record !== undefined && missing.length === 0,
  };
}
