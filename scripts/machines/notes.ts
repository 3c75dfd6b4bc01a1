import { readdir, readFile, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import { UserError } from '../shared/errors.ts';
import { ifMissing, writeAtomic } from '../shared/files.ts';

/**
 * Where a driver notes what it has made or borrowed, outside the state folder: `$XDG_STATE_HOME/k8s-bgp-lab/DRIVER`, by
 * default in ~/.local/state. A relative XDG path is invalid and ignored (https://specifications.freedesktop.org/basedir/).
 */
export function notesFolder(driver: string, env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env.XDG_STATE_HOME;
  const base = xdg?.startsWith('/') ? xdg : join(env.HOME ?? homedir(), '.local', 'state');
  return join(base, 'k8s-bgp-lab', driver);
}

/** A driver's notes, where labdown finds them with .lab/ gone: one file for each name, for this user alone. */
export class Notes<T> {
  readonly folder: string;
  readonly #schema: z.ZodType<T>;
  readonly #damaged: (name: string) => { readonly details: readonly string[]; readonly next: string };

  constructor(
    folder: string,
    schema: z.ZodType<T>,
    damaged: (name: string) => { readonly details: readonly string[]; readonly next: string },
  ) {
    this.folder = folder;
    this.#schema = schema;
    this.#damaged = damaged;
  }

  /** The note of a name; undefined where there is none. Throws UserError where it cannot be read. */
  async read(name: string): Promise<T | undefined> {
    const file = this.#file(name);
    try {
      return this.#schema.parse(JSON.parse(await readFile(file, 'utf8')));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      const { details, next } = this.#damaged(name);
      throw new UserError(`${file} is damaged.`, { details: [String(cause), ...details], next, cause });
    }
  }

  /** All notes by name, in alphabetical order. */
  async all(): Promise<ReadonlyMap<string, T>> {
    const files = await readdir(this.folder).catch(ifMissing([]));
    const found = new Map<string, T>();
    for (const file of files.sort()) {
      const note = file.endsWith('.json') ? await this.read(file.slice(0, -5)) : undefined;
      if (note !== undefined) found.set(file.slice(0, -5), note);
    }
    return found;
  }

  async write(name: string, note: T): Promise<void> {
    await writeAtomic(this.#file(name), `${JSON.stringify(note, null, 2)}\n`, 0o600);
  }

  /** Removes a note, if it is there. */
  async forget(name: string): Promise<void> {
    await rm(this.#file(name), { force: true });
  }

  #file(name: string): string {
    return join(this.folder, `${name}.json`);
  }
}
