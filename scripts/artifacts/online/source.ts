import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Executor } from '../../exec/executor.ts';
import { NODE_ROLES, type Software, type SoftwareFile } from '../../plan/software.ts';
import { Interrupted } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { artifactSums } from '../cache.ts';
import { type ArtifactFolder, ensureFolders, type MissingArtifact, missingArtifacts } from '../ensure.ts';
import type { Recipe } from '../recipe.ts';
import { baseRecipes } from '../recipes.ts';
import { together } from '../tries.ts';
import { type DownloadOptions, downloadAll, type Fetched } from './download.ts';
import { discard, HttpsError, type HttpsOptions, httpsClient } from './https.ts';
import { fetchImages, type ImageOptions, type ImageWanted, sourceOf } from './images.ts';
import { downloadPath, readRecord } from './records.ts';
import { type OnlineChoice, type OnlineFile, onlineFacts, onlineFiles, type Versions } from './versions.ts';

export interface FetchOptions extends BaseOptions, DownloadOptions, Pick<ImageOptions, 'certificates'> {
  readonly lock: Versions;
  readonly choice: OnlineChoice;
}

/** A lab's software, all of it in the cache and checked. */
export interface OnlineSoftware {
  readonly software: Software;
  /** Where each file belongs in a bundle's folder, by its path here. */
  readonly bundlePaths: ReadonlyMap<string, string>;
  /** Whether anything was fetched or built; false where the cache had it all. */
  readonly changed: boolean;
}

/**
 * Makes every file of a lab be in the cache: downloads, container images, and what is made here from Debian packages,
 * all three at once. Throws LabError where one cannot be had, Interrupted on abort; what is whole is kept.
 */
export async function fetchOnline(options: FetchOptions): Promise<OnlineSoftware> {
  const { lock, choice, signal: outer } = options;
  const files = onlineFiles(lock, choice);
  const [downloaded, copied, base] = await together(outer, (signal) => {
    const inside = { ...options, signal };
    return [
      downloadAll(files.flatMap(downloadOf), inside),
      fetchImages(files.flatMap(imageOf), inside),
      ensureBase(inside),
    ] as const;
  });
  const software: SoftwareFile[] = [];
  const bundlePaths = new Map<string, string>();
  const [downloads, images] = [[...downloaded], [...copied]];
  for (const file of files) {
    const fetched = (file.source.kind === 'download' ? downloads : images).shift();
    if (fetched === undefined) throw new Error(`${file.path} was not fetched`);
    software.push(softwareFile(file, fetched));
    bundlePaths.set(fetched.path, file.path);
  }
  for (const { bundlePath, ...file } of base.files) {
    software.push(file);
    bundlePaths.set(file.path, bundlePath);
  }
  const changed = base.changed || [...downloaded, ...copied].some(({ fresh }) => fresh);
  return {
    software: { ...onlineFacts(lock, choice.distribution), files: software },
    bundlePaths,
    changed,
  };
}

/** Those files that the cache lacks, and that a run would ask the internet for; reads the cache and changes nothing. */
export async function missingOnline(
  cache: string,
  files: readonly OnlineFile[],
): Promise<readonly OnlineFile[]> {
  const here = await Promise.all(
    files.map(async ({ source }) => {
      if (source.kind === 'image') {
        const record = await readRecord(cache, sourceOf(source.image));
        const same = (source.image.digest ?? record?.digest) === record?.digest;
        return record !== undefined && same && isThere(record.file);
      }
      const { url, name, sha256 = (await readRecord(cache, url))?.sha256 } = source.download;
      return sha256 !== undefined && isThere(downloadPath(cache, sha256, name));
    }),
  );
  return files.filter((_, index) => !here[index]);
}

/** Why the publishers cannot be asked, or undefined where one answers: asked for the smallest file that it has. */
export async function onlineProblem(
  lock: Versions,
  options: HttpsOptions & { readonly signal?: AbortSignal | undefined } = {},
): Promise<string | undefined> {
  const asked = lock.kubernetes.files.flatMap(
    ({ downloads }) => downloads['linux/amd64']?.checksums?.url ?? [],
  );
  const [url] = asked;
  if (url === undefined) throw new Error('versions.yaml names no checksums of Kubernetes');
  const client = httpsClient({ connectMs: 5000, stallMs: 5000, ...options });
  try {
    const { body } = await client.get(url, {}, options.signal ?? new AbortController().signal);
    discard(body);
    return undefined;
  } catch (error) {
    if (options.signal?.aborted) throw new Interrupted();
    if (error instanceof HttpsError) return `${url}: ${error.message}`;
    throw error;
  } finally {
    await client.close();
  }
}

function downloadOf({ source }: OnlineFile) {
  return source.kind === 'download' ? [source.download] : [];
}

function imageOf({ source }: OnlineFile): ImageWanted[] {
  return source.kind === 'image' ? [source.image] : [];
}

function softwareFile(
  { role, version, nodes, platform }: OnlineFile,
  { path, sha256 }: Fetched,
): SoftwareFile {
  const file = { role, path, version, sha256, nodes, inMachineImage: false };
  return platform === undefined ? file : { ...file, platform };
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

export interface BaseOptions {
  readonly host: Executor;
  readonly cache: string;
  readonly emit: Emit;
  readonly signal?: AbortSignal | undefined;
  /** Whether machines boot from the lab's own image (driver incus) or from one of their own. */
  readonly machines: 'prebuilt' | 'plain';
  /** Default: baseRecipes(). Tests put others. */
  readonly all?: readonly Recipe[];
}

/** The lab's own files, which no publisher has, with their paths in a bundle. */
export interface BaseFile extends SoftwareFile {
  readonly bundlePath: string;
}

/** What must be built here for a lab whose Kubernetes comes from elsewhere; reads the cache and changes nothing. */
export function missingBase({
  cache,
  ...options
}: Pick<BaseOptions, 'cache' | 'machines' | 'all'>): Promise<readonly MissingArtifact[]> {
  return missingArtifacts({ cache, all: recipesFor(options) });
}

/** Builds the echo server's image, and the machines' where they boot from it, on a Debian host; or finds them in the cache. */
export async function ensureBase(
  options: BaseOptions,
): Promise<{ readonly files: readonly BaseFile[]; readonly changed: boolean }> {
  const { host, cache, emit, signal, machines } = options;
  const { folderOf, changed } = await ensureFolders({ host, cache, emit, signal, all: recipesFor(options) });
  const files = [await artifactFile(folderOf('echo-image'), 'echo.tar', 'echo-image', 'images/echo.tar')];
  if (machines === 'prebuilt') {
    const base = folderOf('machine-base');
    files.push(
      await artifactFile(base, 'metadata.tar', 'machine-metadata', 'machine/metadata.tar'),
      await artifactFile(base, 'rootfs.squashfs', 'machine-rootfs', 'machine/rootfs.squashfs'),
    );
  }
  return { files, changed };
}

function recipesFor({
  machines,
  all = baseRecipes(),
}: Pick<BaseOptions, 'machines' | 'all'>): readonly Recipe[] {
  return machines === 'prebuilt'
    ? all
    : all.filter(({ id }) => id !== 'machine-base' && id !== 'machine-root');
}

async function artifactFile(
  { folder, key }: ArtifactFolder,
  name: string,
  role: BaseFile['role'],
  bundlePath: string,
): Promise<BaseFile> {
  const sha256 = (await artifactSums(folder))[name];
  if (sha256 === undefined) throw new Error(`${folder} has no ${name}`);
  const version = key.slice(0, 16);
  const path = join(folder, name);
  return { role, path, version, sha256, nodes: [...NODE_ROLES], inMachineImage: false, bundlePath };
}
