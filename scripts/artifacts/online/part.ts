import { createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { LabError } from '../../shared/errors.ts';
import { type Named, sizeError } from './download-errors.ts';
import { discard, type HttpsClient, HttpsError, httpsError } from './https.ts';
import type { TransferProgress } from './transfer-progress.ts';

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
