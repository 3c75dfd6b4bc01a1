import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomic } from '../../shared/files.ts';
import { sha256File } from '../cache.ts';

/** What is known of a file of the cache that came from outside. */
const recordSchema = z.object({
  schemaVersion: z.literal(1),
  /** A URL, or a container image with its platform. */
  source: z.string(),
  file: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Of a container image: what its registry called it when it was first copied. */
  digest: z.string().optional(),
  bytes: z.number(),
  mtimeMs: z.number(),
  recordedAt: z.string(),
});
export type DownloadRecord = z.infer<typeof recordSchema>;

/** The folder that files from outside are kept in, each as SHA256-NAME: one for all labs of this user. */
export function downloadsFolder(cache: string): string {
  return join(cache, 'downloads');
}

/** Where a file with this content is kept. */
export function downloadPath(cache: string, sha256: string, name: string): string {
  return join(downloadsFolder(cache), `${sha256}-${name}`);
}

/** Where a source's file lies while it failed verification. */
export function partPath(cache: string, source: string, name: string): string {
  return join(downloadsFolder(cache), `.part-${sourceId(source)}-${name}`);
}

/** The name of the lock that whoever fetches from this source holds. */
export function downloadLock(cache: string, source: string): string {
  return `${downloadsFolder(cache)}/${sourceId(source)}`;
}

/** Where it is written down what a source gave. */
export function recordPath(cache: string, source: string): string {
  return join(downloadsFolder(cache), 'recorded', `${sourceId(source)}.json`);
}

/** What a source gave when it was last used; undefined where it never was, or where that is not readable. */
export async function readRecord(cache: string, source: string): Promise<DownloadRecord | undefined> {
  const text = await readFile(recordPath(cache, source), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Writes down what a source gave. The file is in its place already. */
export async function writeRecord(
  cache: string,
  about: Pick<DownloadRecord, 'source' | 'sha256' | 'digest'>,
  file: string,
): Promise<void> {
  const { size, mtimeMs } = await stat(file);
  const record: DownloadRecord = {
    schemaVersion: 1,
    ...about,
    file,
    bytes: size,
    mtimeMs,
    recordedAt: new Date().toISOString(),
  };
  const path = recordPath(cache, about.source);
  await writeAtomic(path, `${JSON.stringify(record, undefined, 2)}\n`);
}

/**
 * Whether a file of the cache still has the content that its name says. A file that has the length and time of its
 * record has been read in full before and is not read again: the images of a lab are a gigabyte.
 */
export async function isWhole(
  file: string,
  sha256: string,
  record: DownloadRecord | undefined,
): Promise<boolean> {
  const seen = await stat(file).catch(() => undefined);
  if (seen === undefined) return false;
  const known = record?.file === file && record.sha256 === sha256;
  if (known && record.bytes === seen.size && record.mtimeMs === seen.mtimeMs) return true;
  return (await sha256File(file)) === sha256;
}

function sourceId(source: string): string {
  return createHash('sha256').update(source).digest('hex').slice(0, 16);
}
