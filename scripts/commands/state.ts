import { existsSync } from 'node:fs';
import { appendFile, link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackgroundProcess, isRunning, thisProcess } from '../exec/local.ts';
import type { SshTarget } from '../exec/ssh.ts';
import type { LabPlan } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import { ifMissing, writeAtomic } from '../shared/files.ts';
import type { Secrets } from '../shared/secrets.ts';
import type { DistributionName, DriverName } from '../spec/types.ts';
import type { StepTiming } from './steps.ts';

/** One line of the journal: what a step of which command did, and how long it took. */
export interface JournalEntry {
  readonly at: string;
  readonly command: string;
  readonly step: string;
  readonly outcome: 'started' | 'changed' | 'unchanged' | 'failed';
  readonly ms?: number;
  readonly message?: string;
}

/** How a machine is reached over SSH, without the key that is in the secrets. */
export type SshReach = Omit<SshTarget, 'privateKey'>;

/** What the command line said of a lab that cannot be changed while it exists: later commands go on with it. */
export interface KeptFlags {
  readonly driver?: DriverName | 'auto' | undefined;
  readonly distribution?: DistributionName | 'auto' | undefined;
  /** One of the names, or the folder of a bundle. */
  readonly artifacts?: string | undefined;
  /** One worker fewer, and no routed client. */
  readonly small?: boolean | undefined;
}

/** What a snapshot holds beside the machines' disks. */
export interface SnapshotRecord {
  /** When it was taken, as ISO 8601. */
  readonly at: string;
  readonly plan: LabPlan;
  /** Pods that ran and that nothing starts again after a boot, as namespace/name. */
  readonly bare: readonly string[];
  /** Nodes, pods, sessions and routes that were not as they should be then. */
  readonly wrong: readonly string[];
}

/** What is kept as JSON, each in a file of its name. */
interface Kept {
  readonly plan: LabPlan;
  readonly flags: KeptFlags;
  readonly secrets: Secrets;
  /** How labup reached the machines when it last saw them. */
  readonly reach: readonly SshReach[];
  /** How long each step of the last labup took. */
  readonly timings: readonly StepTiming[];
  /** Which snapshot's disks are being put back: some machines may have theirs, others not yet. */
  readonly restoring: string;
  readonly [snapshot: `snapshots/${string}`]: SnapshotRecord;
}

/** What is called at the end of a command, however it ends. */
export type Closing = (() => void)[];

/** The lab's folder on this host, .lab/<name>/, mode 0700. Nothing else reads or writes it. */
export class LabState {
  readonly dir: string;

  constructor(root: string, lab: string) {
    this.dir = join(root, '.lab', lab);
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** Whether the folder is there, with or without a plan in it. */
  exists(): boolean {
    return existsSync(this.dir);
  }

  async create(): Promise<void> {
    for (const folder of ['', 'logs', 'reports', 'reports/evidence', 'snapshots'])
      await mkdir(this.path(folder), { recursive: true, mode: 0o700 });
  }

  async save<K extends keyof Kept>(name: K, value: Kept[K]): Promise<void> {
    await this.write(`${name}.json`, `${JSON.stringify(value, null, 2)}\n`);
  }

  /** What was kept under this name; undefined where nothing was. Throws UserError where it is damaged. */
  async load<K extends keyof Kept>(name: K): Promise<Kept[K] | undefined> {
    return this.readJson<Kept[K]>(`${name}.json`);
  }

  /** The plan of a lab that must exist. Throws UserError where there is none. */
  async requirePlan(): Promise<LabPlan> {
    const plan = await this.load('plan');
    if (plan === undefined) {
      throw new UserError('There is no lab here yet.', {
        details: [`looked for ${this.path('plan.json')}`],
        next: 'npx labup --yes',
      });
    }
    return plan;
  }

  async requireSecrets(): Promise<Secrets> {
    const secrets = await this.load('secrets');
    if (secrets === undefined) {
      throw new UserError(`The lab's keys are missing from ${this.dir}.`, {
        next: 'npx labdown --yes && npx labup --yes',
      });
    }
    return secrets;
  }

  /** Writes a file of the state folder atomically with mode 0600. */
  async write(name: string, content: string): Promise<void> {
    await writeAtomic(this.path(name), content, 0o600);
  }

  async read(name: string): Promise<string | undefined> {
    return readFile(this.path(name), 'utf8').catch(ifMissing(undefined));
  }

  /** Names in one of the state folder's folders, sorted; none where there is no such folder. */
  async list(folder: string): Promise<readonly string[]> {
    return (await readdir(this.path(folder)).catch(ifMissing([]))).sort();
  }

  /** Removes a file of the state folder, if it is there. */
  async removeFile(name: string): Promise<void> {
    await rm(this.path(name), { force: true });
  }

  async journal(entry: JournalEntry): Promise<void> {
    await appendFile(this.path('journal.ndjson'), `${JSON.stringify(entry)}\n`, { mode: 0o600 });
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  /**
   * Runs work that no other command may do on this lab meanwhile, then closes what it put on its list. Throws UserError
   * where one is at it.
   */
  async locked<T>(command: string, work: (closing: Closing) => Promise<T>): Promise<T> {
    const file = this.path('lock.json');
    // Linked into place, so that a lock is whole or absent; one that cannot be read is nobody's.
    const mine = this.path(`lock.json.${process.pid}`);
    await writeFile(mine, JSON.stringify({ command, ...thisProcess() }), { mode: 0o600 });
    try {
      await link(mine, file).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
        const holder = await this.readJson<BackgroundProcess & { command: string }>('lock.json').catch(
          () => undefined,
        );
        if (holder !== undefined && isRunning(holder)) {
          throw new UserError(`${holder.command} is already running on this lab (process ${holder.pid}).`, {
            next: `wait for it, or stop it: kill ${holder.pid}`,
          });
        }
        await rename(mine, file);
      });
    } finally {
      await rm(mine, { force: true });
    }
    const closing: Closing = [];
    try {
      return await work(closing);
    } finally {
      await rm(file, { force: true });
      for (const close of closing) close();
    }
  }

  /** The same where the folder may be gone already; the work may remove it. */
  async lockedIfThere<T>(command: string, work: () => Promise<T>): Promise<T> {
    return this.exists() ? this.locked(command, work) : work();
  }

  private async readJson<T>(name: string): Promise<T | undefined> {
    const text = await this.read(name);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new UserError(`${this.path(name)} is damaged.`, {
        details: [String(cause)],
        next: 'npx labdown --yes && npx labup --yes',
      });
    }
  }
}
