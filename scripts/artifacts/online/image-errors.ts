import { CommandError } from '../../exec/command-error.ts';
import { LabError, messageOf, UserError } from '../../shared/errors.ts';
import { WITHOUT_INTERNET } from './https.ts';
import type { DownloadRecord } from './records.ts';

interface Meaning {
  readonly said: RegExp;
  readonly next: string;
  /** Whether another try may end otherwise. */
  readonly again?: true;
  readonly message?: (reference: string) => string;
}

/** What skopeo says, and what to do about it. The texts are those of containers/image and of Go's net and crypto/tls. */
const MEANINGS: readonly Meaning[] = [
  {
    said: /manifest unknown|name unknown|not found|repository name not known/i,
    message: (reference) => `Image ${reference} does not exist in its registry.`,
    next: 'Correct its tag or digest in versions.yaml (docs/development.md, "How to move a pin"), then run labup again.',
  },
  {
    said: /no image found in manifest list|no image found in image index/i,
    next: 'It is not made for this architecture: choose another version in versions.yaml.',
  },
  {
    said: /unauthorized|authentication required|denied/i,
    next: `Registries hide what does not exist: look at its name and tag in versions.yaml. ${WITHOUT_INTERNET}`,
  },
  {
    said: /toomanyrequests|too many requests/i,
    next: 'The registry limits this address: run labup again in an hour.',
    again: true,
  },
  {
    said: /x509:|certificate|tls: /i,
    next: `Look at the clock of this host (date), and at a proxy that opens TLS: its CA belongs to this host's certificates (update-ca-certificates). ${WITHOUT_INTERNET}`,
  },
  {
    said: /no such host/i,
    next: `Look at this host's DNS, network and HTTPS_PROXY, then run labup again. ${WITHOUT_INTERNET}`,
  },
  {
    said: /no space left/i,
    next: 'Make room on the disk of the cache (~/.cache/k8s-bgp-lab), then run labup again.',
  },
  {
    said: /policy\.json/i,
    next: 'Install the package containers-common, or repair /etc/containers/policy.json, then run labup again.',
  },
  {
    said: /^/,
    next: `Run labup again: the images that are whole are kept. ${WITHOUT_INTERNET}`,
    again: true,
  },
];

/** Whether another try may end otherwise: a network that was away for a moment, not an image that does not exist. */
export function mayImprove(error: unknown): boolean {
  if (!(error instanceof CommandError) || error.outcome.exitCode === 127) return false;
  return meaningOf(error)?.again === true;
}

/** A copy that failed for good: which image, what skopeo said, and the next command. */
export function imageError(reference: string, error: unknown, tries: number): LabError {
  if (!(error instanceof CommandError)) {
    if (error instanceof LabError) return error;
    return new UserError(`Copying image ${reference} failed.`, { details: [messageOf(error)], cause: error });
  }
  const meaning = meaningOf(error);
  const failed = `Copying image ${reference} failed${tries > 1 ? ` ${tries} times` : ''}.`;
  return new UserError(meaning?.message?.(reference) ?? failed, {
    details: [error.message, ...error.details],
    ...(meaning && { next: meaning.next }),
    cause: error,
  });
}

/** The program that copies images is not there. */
export function noSkopeoError(cause: unknown): LabError {
  return new UserError('skopeo is not installed, which copies container images from their registries.', {
    next: `Run: apt-get install skopeo. Then run labup again. ${WITHOUT_INTERNET}`,
    cause,
  });
}

/** A tag that its publisher has moved. */
export function digestChangedError(
  reference: string,
  before: DownloadRecord,
  now: string,
  record: string,
): LabError {
  return new UserError(`Image ${reference} has changed in its registry since it was first used here.`, {
    details: [
      `on ${before.recordedAt.slice(0, 10)} it was ${before.digest}`,
      `now its registry says ${now}`,
      `recorded in ${record}`,
    ],
    next: `A tag of a release should never move: find out why. To accept the new one, remove ${record} and run labup again.`,
  });
}

/** The digest of the lock is that of one platform, and of another than this lab's. */
export function wrongPlatformError(
  reference: string,
  digest: string,
  seen: string,
  wanted: string,
): LabError {
  return new UserError(`Image ${reference} is one for ${seen}, and the lab needs ${wanted}.`, {
    details: [digest],
    next: 'Give the digest of its list of platforms in versions.yaml (skopeo inspect --raw, then sha256sum).',
  });
}

function meaningOf({ outcome }: CommandError) {
  return MEANINGS.find(({ said }) => said.test(outcome.stderr));
}
