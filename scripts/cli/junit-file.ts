import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toJunit } from '../report/junit.ts';
import type { LabRun } from '../report/run.ts';
import { LabError, messageOf, UserError } from '../shared/errors.ts';

/** Writes a run as JUnit XML: the whole file or none. Throws UserError where it cannot be written. */
export async function saveJunit(path: string, run: LabRun): Promise<void> {
  const temporary = `${path}.new`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, toJunit(run));
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new UserError(`The JUnit file cannot be written: ${messageOf(cause)}`, {
      next: 'give --junit another path',
      cause,
    });
  }
}

/** A labtest that came to no result, as a run: no cell, and one check that says why. */
export function failedRun(startedAt: Date, error: unknown): LabRun {
  return {
    lab: '',
    startedAt,
    durationMs: Date.now() - startedAt.getTime(),
    checks: [
      {
        id: 'labtest',
        title: 'labtest runs to its end',
        expected: 'a result for every cell',
        observed: [messageOf(error), ...(error instanceof LabError ? error.details : [])].join('; '),
        why: 'Where the test itself fails, nothing is known about the lab.',
        verdict: 'harness',
      },
    ],
    cells: [],
  };
}
