import { LabError, messageOf, UserError } from '../../shared/errors.ts';
import { HttpsError } from './https.ts';

/** What is downloaded, as far as messages name it. */
export interface Named {
  readonly url: string;
  readonly name: string;
  readonly version: string;
}

/** A request that failed for good, as an error for the user: what, where, why, and the next command. */
export function downloadError({ url, name, version }: Named, error: unknown, tries: number): LabError {
  if (error instanceof LabError) return error;
  const known = error instanceof HttpsError ? error : undefined;
  const asked = known?.url ?? url;
  if (known?.status === 404 || known?.status === 410) {
    return new UserError(`${name} ${version} does not exist at its publisher.`, {
      details: [`${asked} answered with status ${known.status}`],
      next: 'Correct its version and URL in versions.yaml (docs/development.md, "How to move a pin"), then run labup again.',
      cause: error,
    });
  }
  return new UserError(`Downloading ${name} ${version} failed.`, {
    details: [asked, `${messageOf(error)}${tries > 1 ? `, ${tries} times` : ''}`],
    next: known?.next ?? 'Run labup again.',
    cause: error,
  });
}

/** A file that is not the one that was pinned. It is removed already. */
export function sumError(
  { url, name, version }: Named,
  expected: string,
  seen: string,
  by: string,
): LabError {
  return new UserError(`${name} ${version} is not the file that it should be; it was removed.`, {
    details: [url, `expected sha256 ${expected} (${by})`, `received sha256 ${seen}`],
    next:
      'Do not use it. Compare both sums with those on the page of the release: if its publisher has changed it, ask why; ' +
      'if versions.yaml is wrong, correct it there.',
  });
}

/** A publisher that says another sum than it said before. */
export function changedError(
  { url, name, version }: Named,
  before: { readonly sum: string; readonly at: string },
  now: string,
  record: string,
): LabError {
  return new UserError(`The publisher of ${name} ${version} has changed it since it was first used here.`, {
    details: [
      url,
      `on ${before.at.slice(0, 10)} it was ${before.sum}`,
      `now its publisher says ${now}`,
      `recorded in ${record}`,
    ],
    next: `A release should never change: find out why. To accept the new one, remove ${record} and run labup again.`,
  });
}

/** A publisher's list that does not say what it should. */
export function listError({ url, name, version }: Named, list: string, said: string): LabError {
  return new UserError(`The publisher's checksums do not name ${name} ${version}.`, {
    details: [url, list, ...said.split('\n').slice(0, 3)],
    next: 'Correct its checksums in versions.yaml (docs/development.md, "How to move a pin"), then run labup again.',
  });
}

/** A file that is larger than anything that the lab downloads. */
export function sizeError({ url, name, version }: Named, bytes: number, most: number): LabError {
  return new UserError(`${name} ${version} is larger than anything that the lab downloads.`, {
    details: [url, `${bytes} bytes or more; at most ${most} are accepted`],
    next: 'Look at what its server sends: it is not that file.',
  });
}
