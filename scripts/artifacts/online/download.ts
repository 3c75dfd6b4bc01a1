import { chmod, mkdir, rename } from 'node:fs/promises';
import type { Emit } from '../../shared/events.ts';
import { lockWhenFree } from '../lock.ts';
import { findChecksum } from './checksums.ts';
import { changedError, downloadError, listError, type Named, sumError } from './download-errors.ts';
import { type HttpsClient, HttpsError, type HttpsOptions, httpsClient, httpsError } from './https.ts';
import { fetchPart, removePart } from './part.ts';
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
    return await fetchAll(downloads, { atOnce: AT_ONCE, signal: outer }, (download, signal) =>
      new Fetch(download, { ...options, signal }, client, progress).run(),
    );
  } finally {
    await client.close();
  }
}

class Fetch {
  readonly #about: Download;
  readonly #options: DownloadOptions & { readonly signal: AbortSignal };
  readonly #client: HttpsClient;
  readonly #progress: TransferProgress;

  constructor(
    about: Download,
    options: DownloadOptions & { readonly signal: AbortSignal },
    client: HttpsClient,
    progress: TransferProgress,
  ) {
    this.#about = about;
    this.#options = options;
    this.#client = client;
    this.#progress = progress;
  }

  async run(): Promise<Fetched> {
    const { cache, emit, signal } = this.#options;
    const { url, name } = this.#about;
    const text = `waiting for another labup that downloads ${name}`;
    const lock = await lockWhenFree(downloadLock(cache, url), () => emit({ type: 'note', text }), signal);
    try {
      return await this.#fetch(await readRecord(cache, url));
    } finally {
      await lock.release();
    }
  }

  async #fetch(record: DownloadRecord | undefined): Promise<Fetched> {
    const { sha256: pinned } = this.#about;
    const known = pinned ?? record?.sha256;
    if (known !== undefined) {
      const cached = await this.#cached(known, record);
      if (cached !== undefined) return cached;
    }
    const sha256 = pinned ?? (await this.#published(record));
    // Its record was lost, or the publisher had to be asked which of the files it is.
    const cached = await this.#cached(sha256, record);
    if (cached !== undefined) return cached;
    return this.#download(sha256, pinned === undefined ? 'the list of its publisher' : 'versions.yaml');
  }

  async #cached(sha256: string, record: DownloadRecord | undefined): Promise<Fetched | undefined> {
    const { cache, full } = this.#options;
    const path = downloadPath(cache, sha256, this.#about.name);
    if (!(await isWhole(path, sha256, record, full))) return undefined;
    if (record?.sha256 !== sha256 || record.file !== path)
      await writeRecord(cache, { source: this.#about.url, sha256 }, path);
    this.#progress.finish(this.#about.name);
    return { path, sha256, fresh: false };
  }

  /** What the publisher's list says, which must be what it said before. */
  async #published(record: DownloadRecord | undefined): Promise<string> {
    const { checksums, url } = this.#about;
    if (checksums === undefined) throw new Error(`${url} has neither a sha256 nor checksums`);
    const list = await this.#tries(() => this.#text(checksums.url));
    const sum = findChecksum(list, checksums.name);
    if (sum === undefined) throw listError(this.#about, checksums.url, list);
    if (record !== undefined && record.sha256 !== sum) {
      const before = { sum: record.sha256, at: record.recordedAt };
      throw changedError(this.#about, before, sum, recordPath(this.#options.cache, url));
    }
    return sum;
  }

  async #download(expected: string, by: string): Promise<Fetched> {
    const { cache, maxBytes = MAX_BYTES, signal } = this.#options;
    const { url, name, executable } = this.#about;
    const part = partPath(cache, url, name);
    const job = {
      about: this.#about,
      part,
      client: this.#client,
      progress: this.#progress,
      maxBytes,
      signal,
    };
    await this.#tries(async () => {
      const { sha256, resumed } = await fetchPart(job);
      if (sha256 === expected) return;
      await removePart(part);
      // What lay here may have been damaged: only a file from one piece says something about its publisher.
      if (resumed) throw new HttpsError(url, 'broken-off', 'its pieces do not fit together', { again: true });
      throw sumError(this.#about, expected, sha256, by);
    });
    if (executable) await chmod(part, 0o755);
    const path = downloadPath(cache, expected, name);
    await rename(part, path);
    await removePart(part);
    await writeRecord(cache, { source: url, sha256: expected }, path);
    this.#progress.finish(name);
    return { path, sha256: expected, fresh: true };
  }

  async #text(url: string): Promise<string> {
    const { body } = await this.#client.get(url, {}, this.#options.signal);
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAX_LIST_BYTES)
          throw new HttpsError(url, 'answer', `its list is longer than ${MAX_LIST_BYTES} bytes`);
        chunks.push(chunk);
      }
    } catch (error) {
      throw httpsError(url, error);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  #tries<T>(work: () => Promise<T>): Promise<T> {
    const { emit, signal, backoffMs } = this.#options;
    const about = this.#about;
    return withTries(work, {
      signal,
      backoffMs,
      mayImprove: (error) => error instanceof HttpsError && error.again,
      again: ({ message }) => emit({ type: 'note', text: `${about.name}: ${message}; trying again` }),
      failure: (error, tries) => downloadError(about, error, tries),
    });
  }
}
