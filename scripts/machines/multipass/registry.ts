import { z } from 'zod';
import { Notes, notesFolder } from '../notes.ts';

const entrySchema = z.object({
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
 * Which instances this user's labs launched, a note for each: Multipass has no labels, and a guest that is stopped cannot
 * be asked. Two labs that come up at the same time have nothing to share.
 */
export class Registry extends Notes<Entry> {
  constructor(folder: string = notesFolder('multipass')) {
    super(folder, entrySchema, (name) => ({
      details: [`it says which lab launched the Multipass instance ${name}`],
      next: `look at the instance (multipass info ${name}), then remove the file`,
    }));
  }

  /** The entries of one lab. */
  async of(lab: string): Promise<ReadonlyMap<string, Entry>> {
    return new Map([...(await this.all())].filter(([, entry]) => entry.lab === lab));
  }
}

/** Whether an instance that is not there may still come: its launch is younger than a launch can take. */
export function mayStillCome(
  { launched, launchedAt }: Pick<Entry, 'launched' | 'launchedAt'>,
  { launch }: { readonly launch: number },
): boolean {
  return !launched && Date.parse(launchedAt) + launch > Date.now();
}
