import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../shared/errors.ts';
import type { SshSpec } from '../../spec/types.ts';
import { notesFolder } from '../notes-folder.ts';

/** A machine that a lab uses, and how it is reached. */
export interface Registered {
  readonly name: string;
  readonly ssh: SshSpec;
}

/**
 * Remembers which machines a lab uses, outside the lab's own folder: labdown must find them with .lab/ gone. One file per
 * lab, mode 0600, below $XDG_STATE_HOME.
 */
export class Registry {
  readonly folder: string;

  constructor(folder: string = notesFolder('ssh')) {
    this.folder = folder;
  }

  async read(lab: string): Promise<readonly Registered[]> {
    const path = join(this.folder, `${lab}.json`);
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return [];
    try {
      return JSON.parse(text) as readonly Registered[];
    } catch (cause) {
      throw new UserError(`${path} is damaged.`, {
        details: ['it says which machines the lab uses'],
        next: `remove it, then: npx labup --yes   (writes it again)`,
        cause,
      });
    }
  }

  async write(lab: string, machines: readonly Registered[]): Promise<void> {
    const path = join(this.folder, `${lab}.json`);
    if (machines.length === 0) return rm(path, { force: true });
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await writeFile(`${path}.new`, `${JSON.stringify(machines, null, 2)}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}
