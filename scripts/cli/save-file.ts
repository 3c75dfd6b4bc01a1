import { readFile } from 'node:fs/promises';
import { messageOf, UserError } from '../shared/errors.ts';
import { writeAtomic } from '../shared/write-atomic.ts';

/** Writes a file that the user asked for: all of it or none. Throws UserError, naming the option, where it cannot be written. */
export async function saveFile(path: string, content: string, what: string, option: string): Promise<void> {
  await writeAtomic(path, content).catch((cause: unknown) => {
    throw new UserError(`The ${what} cannot be written: ${messageOf(cause)}`, {
      next: `give ${option} another path`,
      cause,
    });
  });
}

/** The text of a file that the user named. Throws UserError, naming the option, where it cannot be read. */
export async function loadFile(path: string, option: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UserError(`The file cannot be read: ${messageOf(cause)}`, {
      next: `give ${option} the path of a file that labtest --json wrote`,
      cause,
    });
  });
}
