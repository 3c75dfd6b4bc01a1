import { z } from 'zod';
import { HarnessError } from '../shared/errors.ts';
import type { Action } from './fault.ts';

/** The file of the state folder that holds what is to be undone. It exists while a fault or a scenario may be in the lab. */
export const PENDING_FILE = 'pending-undo.json';

const pending = z.object({
  by: z.enum(['selftest', 'scenario']),
  title: z.string(),
  revert: z.array(z.object({ on: z.string(), argv: z.array(z.string()) })),
});

/** What a command must have written down before it changes anything that it has to undo. */
export interface Pending {
  readonly by: 'selftest' | 'scenario';
  readonly title: string;
  /** Each is right at any time: also where nothing was changed, and twice. */
  readonly revert: readonly Action[];
}

/** The text of the file. */
export function pendingText({ by, title, revert }: Pending): string {
  return `${JSON.stringify({ by, title, revert }, null, 2)}\n`;
}

/** Reads the file. Throws HarnessError where it is damaged: then something may be in the lab and nobody knows what. */
export function parsePending(text: string): Pending {
  try {
    return pending.parse(JSON.parse(text));
  } catch (cause) {
    throw new HarnessError(
      'A selftest or scenario was ended in its middle, and what it had to undo cannot be read.',
      {
        details: [String(cause)],
        next: 'npx labdown --yes && npx labup --yes',
        cause,
      },
    );
  }
}
