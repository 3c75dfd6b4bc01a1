import { z } from 'zod';
import type { SshSpec } from '../../spec/types.ts';
import { Notes, notesFolder } from '../notes.ts';

/** A machine that a lab uses, and how it is reached. */
export interface Registered {
  readonly name: string;
  readonly ssh: SshSpec;
}

/** Remembers which machines a lab uses: one note for each lab. */
export class Registry extends Notes<readonly Registered[]> {
  constructor(folder: string = notesFolder('ssh')) {
    super(folder, z.custom<readonly Registered[]>(Array.isArray), () => ({
      details: ['it says which machines the lab uses'],
      next: 'remove it, then: npx labup --yes   (writes it again)',
    }));
  }

  /** The machines of a lab; none where nothing is noted. */
  async of(lab: string): Promise<readonly Registered[]> {
    return (await this.read(lab)) ?? [];
  }

  /** Notes the machines of a lab. */
  async note(lab: string, machines: readonly Registered[]): Promise<void> {
    return machines.length === 0 ? this.forget(lab) : this.write(lab, machines);
  }
}
