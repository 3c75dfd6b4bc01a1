import { rm } from 'node:fs/promises';
import { isRunning } from '../../../scripts/exec/local.ts';
import { messageOf } from '../../../scripts/shared/errors.ts';
import { waitFor } from '../../../scripts/shared/wait.ts';
import type { Backend } from './backends/backend.ts';
import type { Call } from './io.ts';
import { loadAll } from './store.ts';

/** Takes away everything that the double made on this host and its state folder. Returns an exit code. */
export async function cleanUp(call: Call, backend: Backend): Promise<number> {
  try {
    await stopWorkers(call);
    await backend.cleanUp((text) => call.err(`${text}\n`));
    await rm(call.folder, { recursive: true, force: true });
    return 0;
  } catch (error) {
    call.err(`The multipass test double could not be removed: ${messageOf(error)}\n`);
    return 1;
  }
}

/** Ends what still works on instances, so that it makes nothing anew. */
async function stopWorkers({ folder, err }: Call): Promise<void> {
  for (const { name, busy } of await loadAll(folder)) {
    if (busy === undefined || busy.pid === process.pid || !isRunning(busy)) continue;
    err(`stopping the work on ${name}\n`);
    process.kill(busy.pid, 'SIGTERM');
    await waitFor({
      what: `process ${busy.pid} to end`,
      timeoutMs: 10_000,
      look: async () =>
        isRunning(busy) ? { done: false, why: 'it runs' } : { done: true, value: undefined },
    });
  }
}
