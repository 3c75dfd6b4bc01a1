import { join } from 'node:path';
import type { Executor } from '../../exec/executor.ts';
import { NODE_ROLES, type SoftwareFile } from '../../plan/software.ts';
import type { Emit } from '../../shared/events.ts';
import { artifactSums } from '../cache.ts';
import { type ArtifactFolder, ensureFolders, type MissingArtifact, missingArtifacts } from '../ensure.ts';
import type { Recipe } from '../recipe.ts';
import { baseRecipes } from '../recipes.ts';

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
