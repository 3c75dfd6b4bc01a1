import { createWriteStream } from 'node:fs';
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { LabError, messageOf, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { sha256File } from '../cache.ts';
import { lockWhenFree } from '../lock.ts';
import { fetchAll, withTries } from '../tries.ts';
import {
  discard,
  type HttpsClient,
  HttpsError,
  type HttpsOptions,
  httpsClient,
  httpsError,
  readAll,
} from './https.ts';
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
  { about: { url, name }, options: { cache }, progress }: Fetch,
  sha256: string,
  record: DownloadRecord | undefined,
): Promise<Fetched | undefined> {
  const path = downloadPath(cache, sha256, name);
  if (!(await isWhole(path, sha256, record))) return undefined;
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

/** What one try at a file works with. */
export interface PartJob {
  readonly about: Named;
  /** The file while it failed verification. */
  readonly part: string;
  readonly client: HttpsClient;
  readonly progress: TransferProgress;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/**
 * Fetches a file to its part, continuing what an earlier try left there; whether the server still has the same file is
 * for its sum to tell. Returns whether it was put together from several tries. Throws HttpsError, or LabError for a file
 * that is too large; what has come is kept.
 */
export async function fetchPart(job: PartJob): Promise<{ readonly resumed: boolean }> {
  const { about, part, client, progress, maxBytes, signal } = job;
  const here = (await stat(part).catch(() => undefined))?.size ?? 0;
  const headers = { 'accept-encoding': 'identity', ...(here > 0 && { range: `bytes=${here}-` }) };
  const { status, header, body } = await client.get(about.url, headers, signal);
  const resumed = status === 206 && header('content-range')?.startsWith(`bytes ${here}-`) === true;
  if (status !== 200 && !resumed) {
    discard(body);
    await rm(part, { force: true });
    throw new HttpsError(about.url, `the server could not continue (status ${status})`, { again: true });
  }
  let bytes = resumed ? here : 0;
  const total = bytes + (Number(header('content-length')) || 0);
  if (total > maxBytes) {
    discard(body);
    throw sizeError(about, total, maxBytes);
  }
  progress.start(about.name, total, bytes);
  const counted = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw sizeError(about, bytes, maxBytes);
      progress.add(chunk.length);
      yield chunk;
    }
  };
  try {
    const file = createWriteStream(part, { flags: resumed ? 'a' : 'w', flush: true });
    await pipeline(body, counted, file, { signal });
  } catch (error) {
    progress.undo(total, bytes);
    throw error instanceof LabError ? error : httpsError(about.url, error);
  }
  return { resumed };
}

/** A SHA-256 and, where the list has names, whose it is. */
interface Entry {
  readonly sum: string;
  readonly name: string | undefined;
}

/**
 * The SHA-256 of one file in the list that its publisher puts beside it. Two forms are in use: sha256sum's
 * ("HASH  name", with "*" before the name for binary mode), alone or between the lines of a PGP clear signature; and a
 * bare hash, for a list of one file. Undefined where the list does not say it, or says two things.
 */
export function findChecksum(list: string, name?: string): string | undefined {
  const entries = list.split('\n').flatMap(parseLine);
  const wanted = name === undefined ? entries : entries.filter((entry) => entry.name === name);
  const sums = new Set(wanted.map(({ sum }) => sum));
  return sums.size === 1 ? [...sums][0] : undefined;
}

function parseLine(line: string): Entry[] {
  const [, sum, path] = /^([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*$/.exec(line) ?? [];
  return sum === undefined ? [] : [{ sum: sum.toLowerCase(), name: path?.split('/').at(-1) }];
}

const EVERY_MS = 1000;

/** Says how far several transfers are, once a second at most: names as they start and end, and bytes of those known. */
export class TransferProgress {
  readonly #emit: Emit;
  readonly #now: () => number;
  readonly #files: number;
  readonly #began: number;
  #finished = 0;
  #bytes = 0;
  #fetched = 0;
  #total = 0;
  #emittedAt = Number.NEGATIVE_INFINITY;

  constructor(files: number, emit: Emit, now: () => number = () => performance.now()) {
    this.#files = files;
    this.#emit = emit;
    this.#now = now;
    this.#began = now();
  }

  /** `bytes` of it are here from an earlier try. */
  start(name: string, total: number, here: number): void {
    this.#total += total;
    this.#bytes += here;
    this.#emit({
      type: 'note',
      text: here > 0 ? `continuing ${name} after ${megabytes(here)}` : `downloading ${name}`,
    });
  }

  /** A transfer that broke off: what it counted is taken back, for it is counted again. */
  undo(total: number, bytes: number): void {
    this.#total -= total;
    this.#bytes -= bytes;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    this.#fetched += bytes;
    if (this.#now() - this.#emittedAt >= EVERY_MS) this.#report();
  }

  finish(name: string): void {
    this.#finished += 1;
    this.#emit({ type: 'note', text: `${name} is whole (${this.#finished} of ${this.#files})` });
    this.#report();
  }

  #report(): void {
    this.#emittedAt = this.#now();
    const seconds = (this.#emittedAt - this.#began) / 1000;
    // Only when all have said how large they are is there an end to count to.
    const left = Math.max(0, this.#total - this.#bytes);
    const secondsLeft = this.#fetched > 0 ? Math.ceil((left * seconds) / this.#fetched) : undefined;
    this.#emit({
      type: 'progress',
      done: this.#bytes,
      total: this.#total,
      ...(secondsLeft === undefined ? {} : { secondsLeft }),
    });
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

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
