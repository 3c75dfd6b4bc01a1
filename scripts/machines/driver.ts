import { tryLock } from '../artifacts/lock.ts';
import type { SshTarget } from '../exec/ssh.ts';
import type { FoundAddresses } from '../plan/found.ts';
import type { LabPlan } from '../plan/types.ts';
import { detailsOf, LabFailure, messageOf, UserError } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { DriverName } from '../spec/types.ts';

/** The cloud-init documents that one machine is made with. */
export interface CloudInit {
  readonly userData: string;
  readonly metaData: string;
  readonly networkConfig: string;
}

/** The machine image: LXD's and Incus' split format. */
export interface MachineImage {
  readonly metadataFile: string;
  readonly rootfsFile: string;
  /** Hash of the recipe that made it; two images with one key are interchangeable. */
  readonly key: string;
}

/** What machines are made from. */
export interface Provisioning {
  /** The lab's own image; absent for drivers whose machines come plain. */
  readonly image?: MachineImage | undefined;
  /** By machine name. */
  readonly cloudInit: ReadonlyMap<string, CloudInit>;
  /** The public key that the lab logs in with. */
  readonly clientKey: string;
}

/** Whether a step found everything as wanted or had to change something. */
export type Changed = boolean;

/** What exists of a lab outside its state folder. */
export interface ObservedThing {
  readonly kind:
    | 'machine'
    | 'network'
    | 'routing rule'
    | 'storage pool'
    | 'image'
    | 'project'
    | 'daemon'
    | 'mount';
  readonly name: string;
  readonly state: string;
}

/** How a lab is removed. */
export interface RemoveOptions {
  /** Packages too, on machines that stay. */
  readonly purge?: boolean | undefined;
  /** Whether a daemon that does not run is left so: another driver is known to have made the lab. */
  readonly elsewhere?: boolean | undefined;
}

/** What one machine's disk is kept as. */
export interface KeptDisk {
  readonly snapshot: string;
  readonly machine: string;
  /** When, as ISO 8601, where the daemon tells it. */
  readonly at?: string | undefined;
  /** What it takes of the storage, where that is known. */
  readonly bytes?: number | undefined;
}

/** Whether disks are kept as they all are at one time, or each for itself while all machines run on. */
export type SnapshotTime = 'at-one-time' | 'each';

/** The disks of all machines of a lab, kept under a name. */
export interface Snapshots {
  /** Every disk that is kept of this lab, of whole snapshots and of such as a killed command left. */
  list(plan: LabPlan): Promise<readonly KeptDisk[]>;
  /** What taking one costs, where machines have to be stopped or disks copied whole for it. */
  cost(plan: LabPlan): Promise<string | undefined>;
  /** Whether no machine runs any more once one was taken. */
  readonly stops: boolean;
  /** Keeps the disks of all machines, which run. */
  save(plan: LabPlan, name: string, when: SnapshotTime, emit: Emit): Promise<void>;
  /** Stops all machines and puts their disks back. Those may run already afterwards that others wait for. */
  putBack(plan: LabPlan, name: string, emit: Emit): Promise<void>;
  /** Starts all machines. */
  start(plan: LabPlan, emit: Emit): Promise<void>;
  /** Removes what is kept under this name; what is already gone is no error. */
  remove(plan: LabPlan, name: string, emit: Emit): Promise<void>;
}

/**
 * Where machines come from. Everything above a driver talks to a machine over SSH only.
 * Each verb looks at what is there first and changes only what differs; nothing without our owner label is touched.
 */
export interface MachineDriver {
  readonly name: DriverName;
  /** Whether machines boot from the lab's own image, with all software in it, or come plain and get it over SSH. */
  readonly machines: 'prebuilt' | 'plain';
  /** Whether cloud-init makes the machines, so that its verdict has to be waited for. */
  readonly usesCloudInit: boolean;
  /** What it does in two of labup's steps, for people. */
  readonly steps: Readonly<Record<'host' | 'machines', { readonly title: string; readonly why: string }>>;
  /** Makes the host able to carry machines: the daemon answers, project, storage and network exist. */
  ensureHost(plan: LabPlan, emit: Emit): Promise<Changed>;
  /** Makes the machine image known to the daemon; with plain machines, the image that they boot from. */
  ensureImage(plan: LabPlan, image: MachineImage | undefined, emit: Emit): Promise<Changed>;
  /** Makes every machine of the plan exist and run. `running` is told of each that runs already, if not of all at the end. */
  ensureMachines(
    plan: LabPlan,
    made: Provisioning,
    emit: Emit,
    running?: (name: string) => void,
  ): Promise<Changed>;
  /** How every machine of the plan, running, is reached over SSH and by which host key it is known, in plan order. */
  reach(plan: LabPlan, secrets: Secrets, emit: Emit): Promise<readonly SshTarget[]>;
  /** Absent for a driver that does not hold the disks of its machines. */
  readonly snapshots?: Snapshots;
  /** The addresses that the running machines have, for a plan that leaves them to be found; undefined for any other. */
  findAddresses?(plan: LabPlan, emit: Emit): Promise<FoundAddresses | undefined>;
  /** Everything of this lab that exists on the host. */
  observe(lab: string): Promise<readonly ObservedThing[]>;
  /** Removes everything of this lab; what is already gone is no error. */
  remove(lab: string, emit: Emit, options?: RemoveOptions): Promise<void>;
  /** What labup makes or changes outside the state folder, one line each. */
  changes(plan: LabPlan): readonly string[];
  /** The changes among them that need the user's leave, in view of what of the lab is there already. */
  asks(plan: LabPlan, ours: readonly ObservedThing[]): readonly string[];
}

/** A machine on which work failed, and why. */
export interface Failed {
  readonly name: string;
  readonly reason: unknown;
}

/** Does the work on all machines at once, and waits for all of them. */
export async function onEach<M extends { readonly name: string }, T>(
  machines: readonly M[],
  work: (machine: M) => Promise<T>,
): Promise<{ readonly done: readonly T[]; readonly failed: readonly Failed[] }> {
  const done: T[] = [];
  const failed: Failed[] = [];
  const ended = await Promise.allSettled(machines.map(work));
  for (const [index, each] of ended.entries()) {
    if (each.status === 'fulfilled') done.push(each.value);
    else failed.push({ name: machines[index]?.name ?? '', reason: each.reason });
  }
  return { done, failed };
}

/** The error for machines on which work failed: what each of them says, in the words of the first what to do next. */
export function notDone(
  what: string,
  failed: readonly Failed[],
  next = 'npx labup --yes   (continues where this one stopped)',
  more: readonly string[] = [],
): LabFailure {
  return new LabFailure(`${what}: ${failed.map(({ name }) => name).join(', ')}.`, {
    details: [
      ...failed.flatMap(({ name, reason }) => [
        `${name}: ${messageOf(reason)}`,
        ...detailsOf(reason).map((line) => `  ${line}`),
      ]),
      ...more,
    ],
    next,
    cause: failed[0]?.reason,
  });
}

/**
 * Does work on a lab's machines while no other process of this host does any: the lock of the state folder does not know
 * of a labup of the same lab in another folder. `where` tells apart places whose labs have nothing in common. Throws
 * UserError where another one is at it.
 */
export async function withHostLock<T>(where: string, lab: string, work: () => Promise<T>): Promise<T> {
  const lock = await tryLock(`${where} ${lab}`);
  if (lock === undefined) {
    throw new UserError(`Another labup or labdown is already running on lab "${lab}", from another folder.`, {
      next: 'wait for it, then run this again; or choose another lab name in lab.yaml',
    });
  }
  return work().finally(() => lock.release());
}
