import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import type { Emit } from '../shared/events.ts';
import { buildRecipe } from './build.ts';
import { artifactFolder, cacheFolder, cacheProblem } from './cache.ts';
import { findDebianSource } from './debian.ts';
import { buildLock, removeLeftovers } from './leftovers.ts';
import { lockWhenFree } from './lock.ts';
import { BuildProgress } from './progress.ts';
import { assetFiles, type Recipe, type RecipeId, recipeKey } from './recipe.ts';
import { recipes } from './recipes.ts';
import { together } from './together.ts';

/** What a lab is made of. */
export interface Artifacts {
  /** The one image of every machine, in LXD's and Incus' split format, with its recipe's hash; absent where not asked for. */
  readonly machineImage?: {
    readonly metadataFile: string;
    readonly rootfsFile: string;
    readonly key: string;
  };
  /** kubelet, kubeadm and kubectl of the cluster's version. */
  readonly kubernetes: ArtifactFolder;
  /** A docker-archive tar file for each container image. */
  readonly containerImages: ArtifactFolder;
  /** kubectl of the cluster's own version, statically linked, for this host. */
  readonly kubectl: string;
}

/** A finished artifact in the cache. */
export interface ArtifactFolder {
  readonly folder: string;
  /** Hash of the recipe that made it. */
  readonly key: string;
}

export interface EnsureOptions {
  readonly host: Executor;
  readonly emit: Emit;
  readonly signal?: AbortSignal | undefined;
  /** Default: cacheFolder(). */
  readonly cache?: string;
  /** How much of a cached artifact is checked before it is trusted; default "size". */
  readonly verify?: 'size' | 'sha256';
  /** Default: recipes(). Tests put others. */
  readonly all?: readonly Recipe[];
}

/** An artifact that the cache lacks, or holds damaged. */
export interface MissingArtifact {
  readonly id: RecipeId;
  readonly title: string;
  readonly why: string;
  /** Measured on two cores. */
  readonly seconds: number;
}

/** Every recipe's key, in their order. */
export function recipeKeys(all: readonly Recipe[] = recipes()): ReadonlyMap<RecipeId, string> {
  const keys = new Map<RecipeId, string>();
  for (const recipe of all) keys.set(recipe.id, recipeKey(recipe, assetFiles(recipe.assets), keys));
  return keys;
}

/** What must be built, in the order in which recipes need each other; reads the cache and changes nothing. */
export async function missingArtifacts(
  options: Pick<EnsureOptions, 'cache' | 'verify' | 'all'> = {},
): Promise<readonly MissingArtifact[]> {
  const { cache = cacheFolder(), verify = 'size', all = recipes() } = options;
  const keys = recipeKeys(all);
  const problems = await Promise.all(
    all.map(({ id }) =>
      cacheProblem(artifactFolder(cache, id, keys.get(id) ?? ''), keys.get(id) ?? '', verify),
    ),
  );
  return all.flatMap(({ id, title, seconds }, index) => {
    const why = problems[index];
    return why === undefined ? [] : [{ id, title, why, seconds }];
  });
}

/**
 * Makes every artifact that the cache lacks and tells where the finished ones are. Independent recipes build at the
 * same time; what another labup is building is waited for. Throws LabError where a build fails (exit 1, with its log),
 * Interrupted on abort.
 */
export async function ensureFolders(
  options: EnsureOptions,
): Promise<{ readonly folderOf: (id: RecipeId) => ArtifactFolder; readonly changed: boolean }> {
  const { host, emit, cache = cacheFolder(), verify = 'size', all = recipes() } = options;
  const missing = await missingArtifacts({ cache, verify, all });
  const keys = recipeKeys(all);
  if (missing.length > 0) {
    await mkdir(cache, { recursive: true });
    for (const folder of await removeLeftovers(cache)) {
      emit({ type: 'note', text: `removed what a killed build left: ${folder}` });
    }
    for (const { title, why } of missing) {
      if (why !== 'not in the cache')
        emit({ type: 'warning', text: `Building ${title} again: in the cache ${why}.` });
    }
    const ids = new Set(missing.map(({ id }) => id));
    await buildAll(
      all.filter(({ id }) => ids.has(id)),
      { ...options, cache, verify, keys, host },
    );
  }
  const folderOf = (id: RecipeId): ArtifactFolder => {
    const key = keys.get(id) ?? '';
    return { folder: artifactFolder(cache, id, key), key };
  };
  return { folderOf, changed: missing.length > 0 };
}

/** The artifacts of a lab from Debian: see ensureFolders. */
export async function ensureArtifacts(options: EnsureOptions): Promise<Artifacts> {
  const { all = recipes() } = options;
  const { folderOf } = await ensureFolders(options);
  const image = folderOf('machine-image');
  return {
    ...(all.some(({ id }) => id === 'machine-image')
      ? {
          machineImage: {
            metadataFile: join(image.folder, 'metadata.tar'),
            rootfsFile: join(image.folder, 'rootfs.squashfs'),
            key: image.key,
          },
        }
      : {}),
    kubernetes: folderOf('kubernetes'),
    containerImages: folderOf('container-images'),
    kubectl: join(folderOf('kubernetes').folder, 'kubectl'),
  };
}

type Prepared = Required<Pick<EnsureOptions, 'host' | 'emit' | 'cache' | 'verify'>> &
  Pick<EnsureOptions, 'signal'> & { readonly keys: ReadonlyMap<RecipeId, string> };

// Starts every recipe as soon as those that it needs are done.
async function buildAll(missing: readonly Recipe[], prepared: Prepared): Promise<void> {
  const progress = new BuildProgress(missing, prepared.emit);
  const debian = await findDebianSource(prepared.host);
  await together<unknown[]>(prepared.signal, (signal) => {
    const building = new Map<RecipeId, Promise<void>>();
    for (const recipe of missing) {
      const needed = Promise.all(recipe.needs.map((id) => building.get(id)));
      const environment = (onLine: () => void) => ({ ...prepared, debian, signal, onLine });
      const work = needed.then(() => buildOne(recipe, prepared, progress, environment, signal));
      building.set(recipe.id, work);
    }
    return [...building.values()];
  });
}

async function buildOne(
  recipe: Recipe,
  { cache, verify, keys, emit }: Prepared,
  progress: BuildProgress,
  environment: (onLine: () => void) => Parameters<typeof buildRecipe>[1],
  signal: AbortSignal,
): Promise<void> {
  const key = keys.get(recipe.id) ?? '';
  const folder = artifactFolder(cache, recipe.id, key);
  const waiting = `waiting for another labup to finish building ${recipe.title}`;
  const lock = await lockWhenFree(
    buildLock(cache, `${recipe.id}-${key.slice(0, 16)}`),
    () => emit({ type: 'note', text: waiting }),
    signal,
  );
  try {
    // Whoever held the lock may have made it.
    if ((await cacheProblem(folder, key, verify)) !== undefined) {
      progress.start(recipe.id);
      await buildRecipe(
        recipe,
        environment(() => progress.line(recipe.id)),
      );
    }
    progress.finish(recipe.id);
  } finally {
    await lock.release();
  }
}
