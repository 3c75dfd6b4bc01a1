import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../shared/errors.ts';
import { notesFolder } from '../notes-folder.ts';

const entrySchema = z.object({
  schemaVersion: z.literal(1),
  lab: z.string(),
  /** When the launch began. */
  launchedAt: z.iso.datetime(),
  /** Whether the launch has come back; not so while it runs, or where labup was killed meanwhile. */
  launched: z.boolean(),
  /** Whether SSH never came up in it, or cloud-init failed; after its next boot the guest would not say so any more. */
  failed: z.boolean().optional(),
  /** Hash of what it was launched with. */
  recipe: z.string().optional(),
});

/** What is noted about an instance that a lab launched. */
export type Entry = z.infer<typeof entrySchema>;

/**
 * Which instances this user's labs launched. Multipass has no labels, and a guest that is stopped cannot be asked; so it
 * is noted here, outside the state folder, where labdown finds it with .lab/ gone. One file per instance: two labs that
 * come up at the same time have nothing to share.
 */
export class Registry {
  readonly folder: string;

  constructor(folder: string = notesFolder('multipass')) {
    this.folder = folder;
  }

  /** All entries by instance name. Throws UserError for one that cannot be read. */
  async all(): Promise<ReadonlyMap<string, Entry>> {
    const files = await readdir(this.folder).catch(noneIfAbsent);
    const names = files
      .filter((file) => file.endsWith('.json'))
      .map((file) => file.slice(0, -'.json'.length));
    const entries = await Promise.all(
      names.sort().map(async (name) => ({ name, entry: await this.read(name) })),
    );
    return new Map(
      entries.flatMap(({ name, entry }) => (entry === undefined ? [] : [[name, entry] as const])),
    );
  }

  /** The entries of one lab. */
  async of(lab: string): Promise<ReadonlyMap<string, Entry>> {
    return new Map([...(await this.all())].filter(([, entry]) => entry.lab === lab));
  }

  /** Writes an entry, whole or not at all. */
  async note(name: string, entry: Omit<Entry, 'schemaVersion'>): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const file = this.file(name);
    const temporary = `${file}.${process.pid}`;
    await writeFile(temporary, `${JSON.stringify({ schemaVersion: 1, ...entry }, null, 2)}\n`, {
      mode: 0o600,
    });
    await rename(temporary, file);
  }

  /** Removes an entry, if it is there. */
  async forget(name: string): Promise<void> {
    await rm(this.file(name), { force: true });
  }

  /** The entry of one instance. Throws UserError where it cannot be read. */
  async read(name: string): Promise<Entry | undefined> {
    const file = this.file(name);
    try {
      return entrySchema.parse(JSON.parse(await readFile(file, 'utf8')));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new UserError(`${file} is damaged.`, {
        details: [String(cause), `it says which lab launched the Multipass instance ${name}`],
        next: `look at the instance (multipass info ${name}), then remove the file`,
        cause,
      });
    }
  }

  private file(name: string): string {
    return join(this.folder, `${name}.json`);
  }
}

/** Whether an instance that is not there may still come: its launch is younger than a launch can take. */
export function mayStillCome(
  { launched, launchedAt }: Pick<Entry, 'launched' | 'launchedAt'>,
  { launch }: { readonly launch: number },
): boolean {
  return !launched && Date.parse(launchedAt) + launch > Date.now();
}

function noneIfAbsent(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return [];
  throw error;
}
