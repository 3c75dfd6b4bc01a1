import { z } from 'zod';
import { HarnessError } from '../shared/errors.ts';
import type { Action, Fault } from './fault.ts';

/** The file of the state folder that holds what is to be undone. It exists while a fault may be in the lab. */
export const PENDING_FILE = 'selftest-pending.json';

const pending = z.object({
  fault: z.string(),
  title: z.string(),
  revert: z.array(z.object({ on: z.string(), argv: z.array(z.string()) })),
});

/** What a selftest must have written down before it breaks anything. */
export interface Pending {
  readonly fault: string;
  readonly title: string;
  readonly revert: readonly Action[];
}

/** The text of the file for one fault. */
export function pendingText({ id, title, revert }: Fault): string {
  return `${JSON.stringify({ fault: id, title, revert }, null, 2)}\n`;
}

/** Reads the file. Throws HarnessError where it is damaged: then a fault may be in the lab and nobody knows which. */
export function parsePending(text: string): Pending {
  try {
    return pending.parse(JSON.parse(text));
  } catch (cause) {
    throw new HarnessError('A selftest was ended in its middle, and what it had to undo cannot be read.', {
      details: [String(cause)],
      next: 'npx labdown --yes && npx labup --yes',
      cause,
    });
  }
}
