import { rm } from 'node:fs/promises';
import { messageOf } from '../../../scripts/shared/errors.ts';
import type { Backend } from './backends/backend.ts';
import type { Call } from './io.ts';

/** Takes away everything that the double made on this host and its state folder. Returns an exit code. */
export async function cleanUp(call: Call, backend: Backend): Promise<number> {
  try {
    await backend.cleanUp((text) => call.err(`${text}\n`));
    await rm(call.folder, { recursive: true, force: true });
    return 0;
  } catch (error) {
    call.err(`The multipass test double could not be removed: ${messageOf(error)}\n`);
    return 1;
  }
}
