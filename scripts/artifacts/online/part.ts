import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { type Named, sizeError } from './download-errors.ts';
import { type HttpsClient, HttpsError, type HttpsResponse, httpsError } from './https.ts';
import type { TransferProgress } from './transfer-progress.ts';

/** What one try at a file works with. */
export interface PartJob {
  readonly about: Named;
  /** The file while it is not whole; beside it, as PART.validator, what makes its continuation safe. */
  readonly part: string;
  readonly client: HttpsClient;
  readonly progress: TransferProgress;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/**
 * Fetches a file to its part, continuing one that an earlier try left where the server still has the same (RFC 9110,
 * Range with If-Range). Returns its SHA-256, taken while it came, and whether it was put together from several tries.
 * Throws HttpsError, or LabError for a file that is too large; what has come is kept.
 */
export async function fetchPart(
  job: PartJob,
): Promise<{ readonly sha256: string; readonly resumed: boolean }> {
  const { about, part, client, progress, maxBytes, signal } = job;
  const begun = await readBegun(part);
  const range = begun === undefined ? {} : { range: `bytes=${begun.bytes}-`, 'if-range': begun.validator };
  const response = await client.get(about.url, { 'accept-encoding': 'identity', ...range }, signal);
  const offset = begun !== undefined && continuesAt(response, begun.bytes) ? begun.bytes : 0;
  if (response.status !== 200 && offset === 0) {
    response.body.on('error', () => {}).destroy();
    await removePart(part);
    throw new HttpsError(
      about.url,
      'broken-off',
      `the server could not continue (status ${response.status})`,
      {
        again: true,
      },
    );
  }
  const announced = lengthOf(response);
  const total = announced === undefined ? undefined : offset + announced;
  if (total !== undefined && total > maxBytes) {
    response.body.on('error', () => {}).destroy();
    throw sizeError(about, total, maxBytes);
  }
  // Whatever lies there is not of the file that comes now.
  if (offset === 0) await rm(part, { force: true });
  await writeFile(`${part}.validator`, validatorOf(response) ?? '');
  const hash = createHash('sha256');
  if (offset > 0) await pipeline(createReadStream(part), hash, { end: false });
  let bytes = offset;
  progress.start(about.name, total ?? 0, offset);
  const counted = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw sizeError(about, bytes, maxBytes);
      hash.update(chunk);
      progress.add(chunk.length);
      yield chunk;
    }
  };
  try {
    const file = createWriteStream(part, { flags: offset > 0 ? 'a' : 'w', flush: true });
    await pipeline(response.body, counted, file, { signal });
    if (total !== undefined && bytes !== total)
      throw new HttpsError(about.url, 'broken-off', `the file ended after ${bytes} of ${total} bytes`, {
        again: true,
      });
  } catch (error) {
    progress.undo(total ?? 0, bytes);
    throw isOurs(error) ? error : httpsError(about.url, error);
  }
  return { sha256: hash.digest('hex'), resumed: offset > 0 };
}

/** Removes a part and what belongs to it. */
export async function removePart(part: string): Promise<void> {
  await rm(part, { force: true });
  await rm(`${part}.validator`, { force: true });
}

/** What an earlier try left, if it can be continued: without a validator nobody knows whether it is of the same file. */
async function readBegun(part: string): Promise<{ bytes: number; validator: string } | undefined> {
  const validator = await readFile(`${part}.validator`, 'utf8').catch(() => '');
  const bytes = (await stat(part).catch(() => undefined))?.size ?? 0;
  return validator === '' || bytes === 0 ? undefined : { bytes, validator };
}

// Only a strong validator may stand in If-Range (RFC 9110, 13.1.5).
function validatorOf({ header }: HttpsResponse): string | undefined {
  const etag = header('etag');
  return etag !== undefined && !etag.startsWith('W/') ? etag : header('last-modified');
}

function continuesAt({ status, header }: HttpsResponse, offset: number): boolean {
  return status === 206 && header('content-range')?.startsWith(`bytes ${offset}-`) === true;
}

function lengthOf({ header }: HttpsResponse): number | undefined {
  const length = Number(header('content-length'));
  return Number.isSafeInteger(length) ? length : undefined;
}

function isOurs(error: unknown): boolean {
  return error instanceof Error && ('trouble' in error || 'exitCode' in error);
}
