import type { SshTarget } from '../exec/ssh.ts';
import type { LabPlan } from '../plan/types.ts';
import type { Emit } from '../shared/events.ts';

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

/**
 * Where machines come from. Everything above a driver talks to a machine over SSH only.
 * Each verb looks at what is there first and changes only what differs; nothing without our owner label is touched.
 */
export interface MachineDriver {
  readonly name: string;
  /** Makes the host able to carry machines: the daemon answers, project, storage and network exist. */
  ensureHost(plan: LabPlan, emit: Emit): Promise<Changed>;
  /** Makes the machine image known to the daemon. */
  ensureImage(plan: LabPlan, image: MachineImage, emit: Emit): Promise<Changed>;
  /** Makes every machine of the plan exist and run. */
  ensureMachines(
    plan: LabPlan,
    image: MachineImage,
    cloudInit: ReadonlyMap<string, CloudInit>,
    emit: Emit,
  ): Promise<Changed>;
  /** Where a running machine answers SSH, without the keys. */
  addressOf(plan: LabPlan, machine: string): Promise<Pick<SshTarget, 'name' | 'address' | 'user'>>;
  /** Everything of this lab that exists on the host. */
  observe(lab: string): Promise<readonly ObservedThing[]>;
  /** Removes everything of this lab; what is already gone is no error. */
  remove(lab: string, emit: Emit): Promise<void>;
}
