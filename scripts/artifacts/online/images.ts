import { createHash } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { CommandError, type Executor } from '../../exec/executor.ts';
import { LabError, messageOf, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { sha256File } from '../cache.ts';
import { lockWhenFree } from '../lock.ts';
import { fetchAll, withTries } from '../tries.ts';
import type { Fetched } from './download.ts';
import { WITHOUT_INTERNET } from './https.ts';
import {
  type DownloadRecord,
  downloadLock,
  downloadPath,
  downloadsFolder,
  isWhole,
  partPath,
  readRecord,
  recordPath,
  writeRecord,
} from './records.ts';

const AT_ONCE = 2;
const BACKOFF_MS = 2000;
/** Asking for a digest, and copying an image of some hundred megabytes. */
const ASK_MS = 60_000;
const COPY_MS = 15 * 60_000;

/** One container image for one architecture. */
export interface ImageWanted {
  /** With its registry, without tag: "registry.k8s.io/pause". */
  readonly name: string;
  readonly tag: string;
  /** Of its list of platforms, or of the image itself. Without it: the one that was recorded, or the registry's now. */
  readonly digest?: string | undefined;
  /** Go's name, which is Debian's: "amd64", "arm64". */
  readonly architecture: string;
}

export interface ImageOptions {
  readonly host: Executor;
  readonly cache: string;
  readonly emit: Emit;
  readonly signal?: AbortSignal | undefined;
  /** A folder with the CA of a registry, as containers-certs.d(5) has it. Tests only: skopeo knows the host's. */
  readonly certificates?: string;
  readonly backoffMs?: number;
}

/**
 * Makes a docker-archive of every image be in the cache, in the order asked for. skopeo copies by digest and checks
 * every blob against it, so that what was recorded once is what comes ever after. Throws LabError, Interrupted on abort.
 */
export async function fetchImages(
  images: readonly ImageWanted[],
  options: ImageOptions,
): Promise<readonly Fetched[]> {
  const { cache, emit, signal: outer } = options;
  await mkdir(downloadsFolder(cache), { recursive: true });
  let whole = 0;
  return fetchAll(images, { atOnce: AT_ONCE, signal: outer }, async (image, signal) => {
    const file = await fetchImage(image, { ...options, signal });
    whole += 1;
    emit({ type: 'note', text: `image ${referenceOf(image)} is whole (${whole} of ${images.length})` });
    return file;
  });
}

/** "registry.k8s.io/pause:3.10.2". */
export function referenceOf({ name, tag }: Pick<ImageWanted, 'name' | 'tag'>): string {
  return `${name}:${tag}`;
}

/** What an image's digest and archive are recorded under. */
export function sourceOf(image: ImageWanted): string {
  return `docker://${referenceOf(image)} linux/${image.architecture}`;
}

type Options = ImageOptions & { readonly signal: AbortSignal };

async function fetchImage(image: ImageWanted, options: Options): Promise<Fetched> {
  const { cache, emit, signal } = options;
  const source = sourceOf(image);
  const text = `waiting for another labup that copies ${referenceOf(image)}`;
  const lock = await lockWhenFree(downloadLock(cache, source), () => emit({ type: 'note', text }), signal);
  try {
    const record = await readRecord(cache, source);
    if (record !== undefined && (image.digest ?? record.digest) === record.digest) {
      const { file: path, sha256 } = record;
      if (await isWhole(path, sha256, record)) return { path, sha256, fresh: false };
    }
    const digest = image.digest ?? (await digestNow(image, source, record, options));
    return await copy(image, digest, source, options);
  } finally {
    await lock.release();
  }
}

/** What the registry calls the tag now, which must be what it called it before. */
async function digestNow(
  image: ImageWanted,
  source: string,
  record: DownloadRecord | undefined,
  options: Options,
): Promise<string> {
  const { host, cache, signal } = options;
  const argv = ['skopeo', 'inspect', '--raw', ...certificatesOf(options, '--cert-dir')];
  const manifest = await tries(image, options, () =>
    host.run([...argv, `docker://${referenceOf(image)}`], { timeoutMs: ASK_MS, signal }),
  );
  // A digest is the SHA-256 of the manifest's bytes (OCI distribution specification, "Digest").
  const digest = `sha256:${createHash('sha256').update(manifest.stdout).digest('hex')}`;
  if (record?.digest !== undefined && record.digest !== digest)
    throw digestChangedError(referenceOf(image), record, digest, recordPath(cache, source));
  return digest;
}

async function copy(image: ImageWanted, digest: string, source: string, options: Options): Promise<Fetched> {
  const { host, cache, emit, signal } = options;
  const { name, architecture } = image;
  const fileName = `${referenceOf(image).replaceAll(/[/:]/g, '_')}-${architecture}.tar`;
  const part = partPath(cache, source, fileName);
  const argv = ['skopeo', 'copy', '--quiet', '--override-os', 'linux', '--override-arch', architecture];
  emit({ type: 'note', text: `copying image ${referenceOf(image)}` });
  await tries(image, options, async () => {
    // skopeo adds to no archive that is there.
    await rm(part, { force: true });
    const from = [...certificatesOf(options, '--src-cert-dir'), `docker://${name}@${digest}`];
    return host.run([...argv, ...from, `docker-archive:${part}:${referenceOf(image)}`], {
      timeoutMs: COPY_MS,
      signal,
      // What skopeo notes of layers, for root else in /var/lib/containers: it is asked to keep it as another user would.
      env: { XDG_DATA_HOME: join(cache, 'skopeo'), _CONTAINERS_ROOTLESS_UID: '1' },
    });
  });
  const config = await host.run(['skopeo', 'inspect', '--config', `docker-archive:${part}`], { signal });
  const seen = z.object({ os: z.string(), architecture: z.string() }).parse(JSON.parse(config.stdout));
  if (seen.os !== 'linux' || seen.architecture !== architecture) {
    await rm(part);
    throw wrongPlatformError(
      referenceOf(image),
      digest,
      `${seen.os}/${seen.architecture}`,
      `linux/${architecture}`,
    );
  }
  const sha256 = await sha256File(part);
  const path = downloadPath(cache, sha256, fileName);
  await rename(part, path);
  await writeRecord(cache, { source, sha256, digest }, path);
  return { path, sha256, fresh: true };
}

function certificatesOf({ certificates }: ImageOptions, option: string): string[] {
  return certificates === undefined ? [] : [option, certificates];
}

function tries<T>(
  image: ImageWanted,
  { emit, signal, backoffMs = BACKOFF_MS }: Options,
  work: () => Promise<T>,
): Promise<T> {
  const reference = referenceOf(image);
  return withTries(work, {
    signal,
    backoffMs,
    mayImprove,
    again: ({ message }) => emit({ type: 'note', text: `image ${reference}: ${message} Trying again.` }),
    failure: (error, count) =>
      error instanceof CommandError && error.outcome.exitCode === 127
        ? noSkopeoError(error)
        : imageError(reference, error, count),
  });
}

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
