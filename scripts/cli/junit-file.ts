import { unseenCheck } from '../bgp/checks/check.ts';
import { toJunit } from '../report/junit.ts';
import type { LabRun } from '../report/run.ts';
import { LabError, messageOf } from '../shared/errors.ts';
import { saveFile } from './save-file.ts';

/** Writes a run as JUnit XML: the whole file or none. Throws UserError where it cannot be written. */
export async function saveJunit(path: string, run: LabRun): Promise<void> {
  await saveFile(path, toJunit(run), 'JUnit file', '--junit');
}

/** A labtest that came to no result, as a run: no cell, and one check that says why. */
export function failedRun(startedAt: Date, error: unknown): LabRun {
  return {
    lab: '',
    startedAt,
    durationMs: Date.now() - startedAt.getTime(),
    checks: [
      unseenCheck(
        'run',
        {},
        {},
        {
          fault: 'harness',
          detail: [messageOf(error), ...(error instanceof LabError ? error.details : [])].join('; '),
        },
      ),
    ],
    cells: [],
  };
}
