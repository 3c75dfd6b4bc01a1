import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import type { Emit } from '../../shared/events.ts';
import { sha256File } from '../cache.ts';
import { lockWhenFree } from '../lock.ts';
import { findChecksum } from './checksums.ts';
import { changedError, downloadError, listError, type Named, sumError } from './download-errors.ts';
import { type HttpsClient, HttpsError, type HttpsOptions, httpsClient, readAll } from './https.ts';
import { fetchPart } from './part.ts';
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
import { TransferProgress } from './transfer-progress.ts';
import { fetchAll, withTries } from './tries.ts';

const AT_ONCE = 4;
/** No file of the lab is half as large (k3s' images: 200 MB). */
const MAX_BYTES = 2 ** 30;
const MAX_LIST_BYTES = 2 ** 20;

/** One file of a publisher. */
export interface Download extends Named {
  /** What it must be; without it, what its publisher's list says. */
  readonly sha256?: string | undefined;
  readonly checksums?: { readonly url: string; readonly name?: string | undefined } | undefined;
  /** Whether it is a program. */
  readonly executable?: boolean;
}

/** A file of the cache that was checked. */
export interface Fetched {
  readonly path: string;
  readonly sha256: string;
  /** Whether it was fetched now; false where the cache had it. */
  readonly fresh: boolean;
}

export interface DownloadOptions extends HttpsOptions {
  readonly cache: string;
  readonly emit: Emit;
  readonly signal?: AbortSignal | undefined;
  /** Read every file of the cache in full before it is trusted. */
  readonly full?: boolean | undefined;
  readonly maxBytes?: number;
  /** The pause before the second try, in milliseconds; it doubles before the third. */
  readonly backoffMs?: number;
}

/**
 * Makes every file be in the cache, checked, and tells where, in the order asked for; four at a time. The first failure
 * ends the others; what has come of them is kept and continued by the next run. Throws LabError, Interrupted on abort.
 */
export async function downloadAll(
  downloads: readonly Download[],
  options: DownloadOptions,
): Promise<readonly Fetched[]> {
  const { cache, emit, signal: outer } = options;
  await mkdir(downloadsFolder(cache), { recursive: true });
  const progress = new TransferProgress(downloads.length, emit);
  const client = httpsClient(options);
  try {
    return await fetchAll(downloads, { atOnce: AT_ONCE, signal: outer }, (about, signal) =>
      fetchOne({ about, options: { ...options, signal }, client, progress }),
    );
  } finally {
    await client.close();
  }
}

interface Fetch {
  readonly about: Download;
  readonly options: DownloadOptions & { readonly signal: AbortSignal };
  readonly client: HttpsClient;
  readonly progress: TransferProgress;
}

async function fetchOne(fetch: Fetch): Promise<Fetched> {
  const { name, url, sha256: pinned } = fetch.about;
  const { cache, emit, signal } = fetch.options;
  const text = `waiting for another labup that downloads ${name}`;
  const lock = await lockWhenFree(downloadLock(cache, url), () => emit({ type: 'note', text }), signal);
  try {
    const record = await readRecord(cache, url);
    const known = pinned ?? record?.sha256;
    const cached = known && (await fromCache(fetch, known, record));
    if (cached) return cached;
    if (pinned !== undefined) return await download(fetch, pinned, 'versions.yaml');
    const sum = await publishedSum(fetch, record);
    // Its record was lost, or the publisher had to be asked which of the files it is.
    return (await fromCache(fetch, sum, record)) ?? (await download(fetch, sum, 'the list of its publisher'));
  } finally {
    await lock.release();
  }
}

async function fromCache(
  { about: { url, name }, options: { cache, full }, progress }: Fetch,
  sha256: string,
  record: DownloadRecord | undefined,
): Promise<Fetched | undefined> {
  const path = downloadPath(cache, sha256, name);
  if (!(await isWhole(path, sha256, record, full))) return undefined;
  if (record?.sha256 !== sha256 || record.file !== path)
    await writeRecord(cache, { source: url, sha256 }, path);
  progress.finish(name);
  return { path, sha256, fresh: false };
}

/** What the publisher's list says, which must be what it said before. */
async function publishedSum(fetch: Fetch, record: DownloadRecord | undefined): Promise<string> {
  const { about, options, client } = fetch;
  const { checksums, url } = about;
  if (checksums === undefined) throw new Error(`${url} has neither a sha256 nor checksums`);
  const read = () => readAll(client, checksums.url, MAX_LIST_BYTES, options.signal);
  const list = (await tries(fetch, read)).toString('utf8');
  const sum = findChecksum(list, checksums.name);
  if (sum === undefined) throw listError(about, checksums.url, list);
  if (record !== undefined && record.sha256 !== sum) {
    const before = { sum: record.sha256, at: record.recordedAt };
    throw changedError(about, before, sum, recordPath(options.cache, url));
  }
  return sum;
}

async function download(fetch: Fetch, expected: string, by: string): Promise<Fetched> {
  const { about, client, progress } = fetch;
  const { cache, maxBytes = MAX_BYTES, signal } = fetch.options;
  const { url, name, executable } = about;
  const part = partPath(cache, url, name);
  await tries(fetch, async () => {
    const { resumed } = await fetchPart({ about, part, client, progress, maxBytes, signal });
    const seen = await sha256File(part);
    if (seen === expected) return;
    await rm(part);
    // What lay here may have been damaged: only a file from one piece says something about its publisher.
    if (resumed) throw new HttpsError(url, 'its pieces do not fit together', { again: true });
    throw sumError(about, expected, seen, by);
  });
  if (executable) await chmod(part, 0o755);
  const path = downloadPath(cache, expected, name);
  await rename(part, path);
  await writeRecord(cache, { source: url, sha256: expected }, path);
  progress.finish(name);
  return { path, sha256: expected, fresh: true };
}

function tries<T>(
  { about, options: { emit, signal, backoffMs } }: Fetch,
  work: () => Promise<T>,
): Promise<T> {
  return withTries(work, {
    signal,
    backoffMs,
    mayImprove: (error) => error instanceof HttpsError && error.again,
    again: ({ message }) => emit({ type: 'note', text: `${about.name}: ${message}; trying again` }),
    failure: (error, count) => downloadError(about, error, count),
  });
}
