import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CommandError, type Executor } from '../exec/executor.ts';
import { EXIT, Interrupted, LabError, messageOf } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { assetPath } from '../shared/files.ts';
import { gate } from '../shared/wait.ts';
import { artifactFolder, cacheFolder, cacheProblem, commitArtifact } from './cache.ts';
import { type DebianSource, findDebianSource, KEYRING, renderSources, SUITE } from './debian.ts';
import { buildFolder, buildLock, lockWhenFree, removeBuild, removeLeftovers } from './lock.ts';
import { assetFiles, type BuildContext, type Recipe, type RecipeId, recipeKey } from './recipe.ts';
import { recipes } from './recipes.ts';
import { together } from './tries.ts';

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
  options: Pick<EnsureOptions, 'cache' | 'all'> = {},
): Promise<readonly MissingArtifact[]> {
  const { cache = cacheFolder(), all = recipes() } = options;
  const keys = recipeKeys(all);
  const problems = await Promise.all(
    all.map(({ id }) => cacheProblem(artifactFolder(cache, id, keys.get(id) ?? ''), keys.get(id) ?? '')),
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
  const { host, emit, cache = cacheFolder(), all = recipes() } = options;
  const missing = await missingArtifacts({ cache, all });
  const keys = recipeKeys(all);
  if (missing.length > 0) {
    await mkdir(cache, { recursive: true });
    for (const folder of await removeLeftovers(host, cache)) {
      emit({ type: 'note', text: `removed what a killed build left: ${folder}` });
    }
    for (const { title, why } of missing) {
      if (why !== 'not in the cache')
        emit({ type: 'warning', text: `Building ${title} again: in the cache ${why}.` });
    }
    const ids = new Set(missing.map(({ id }) => id));
    await buildAll(
      all.filter(({ id }) => ids.has(id)),
      { ...options, cache, keys, host },
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

type Prepared = Required<Pick<EnsureOptions, 'host' | 'emit' | 'cache'>> &
  Pick<EnsureOptions, 'signal'> & { readonly keys: ReadonlyMap<RecipeId, string> };

// Starts every recipe as soon as the first that it needs is made, while what that worked with is removed.
async function buildAll(missing: readonly Recipe[], prepared: Prepared): Promise<void> {
  const progress = new BuildProgress(missing, prepared.emit);
  const debian = await findDebianSource(prepared.host);
  await together<unknown[]>(prepared.signal, (signal) => {
    const made = new Map(missing.map(({ id }) => [id, gate()] as const));
    const whenMade = async (id: RecipeId) => made.get(id)?.passed;
    return missing.map(async (recipe) => {
      const own = made.get(recipe.id);
      const onLine = () => progress.line(recipe.id);
      const environment = { ...prepared, debian, signal, onLine, whenMade };
      try {
        await Promise.all(recipe.needs.slice(0, 1).map(whenMade));
        await buildOne(recipe, environment, progress, () => own?.open());
      } catch (error) {
        own?.fail(error);
        throw error;
      }
    });
  });
}

async function buildOne(
  recipe: Recipe,
  environment: BuildEnvironment & Pick<Prepared, 'emit'>,
  progress: BuildProgress,
  onMade: () => void,
): Promise<void> {
  const { host, cache, keys, emit, signal } = environment;
  const key = keys.get(recipe.id) ?? '';
  const name = `${recipe.id}-${key.slice(0, 16)}`;
  const waiting = `waiting for another labup to finish building ${recipe.title}`;
  const lock = await lockWhenFree(
    buildLock(cache, name),
    () => emit({ type: 'note', text: waiting }),
    signal,
  );
  try {
    // Whoever held the lock may have made it.
    if ((await cacheProblem(artifactFolder(cache, recipe.id, key), key)) !== undefined) {
      progress.start(recipe.id);
      await buildRecipe(recipe, environment);
    }
    progress.finish(recipe.id);
    onMade();
  } finally {
    // What waits for this recipe goes on meanwhile: Kubernetes' 50,000 files take several seconds.
    await removeBuild(host, buildFolder(cache, name));
    await lock.release();
  }
}

/** The longest that one command of a build may take: a wedged download must end some time. */
const COMMAND_TIMEOUT_MS = 40 * 60_000;

/** What a build needs besides its recipe. */
export interface BuildEnvironment {
  readonly host: Executor;
  readonly cache: string;
  readonly debian: DebianSource;
  readonly keys: ReadonlyMap<RecipeId, string>;
  readonly signal: AbortSignal;
  readonly onLine: () => void;
  /** Resolves when a recipe that this one needs is made. */
  readonly whenMade: (id: RecipeId) => Promise<void>;
}

/** The file that a build's output goes to. */
export function logFile(cache: string, { id }: Recipe, key: string): string {
  return join(cache, 'logs', `${id}-${key.slice(0, 16)}.log`);
}

/**
 * Builds one recipe beside its place in the cache and moves it there when it is whole. The caller holds its lock.
 * The caller removes what it worked with. Throws LabError with the log's path and its end.
 */
export async function buildRecipe(recipe: Recipe, environment: BuildEnvironment): Promise<void> {
  const { cache, keys, signal } = environment;
  const key = keyOf(keys, recipe.id);
  const final = artifactFolder(cache, recipe.id, key);
  const folder = buildFolder(cache, `${recipe.id}-${key.slice(0, 16)}`);
  const log = logFile(cache, recipe, key);
  const started = performance.now();
  await mkdir(dirname(log), { recursive: true });
  const output = createWriteStream(log, { flags: 'w' });
  try {
    for (const name of ['work', 'out']) await mkdir(join(folder, name), { recursive: true });
    await writeFile(join(folder, 'sources.list'), renderSources(environment.debian.mirror, SUITE, KEYRING));
    await recipe.build(contextOf(recipe, environment, folder, output));
    // A folder that is in the way is one that was found damaged: under this lock nobody else writes there.
    await rm(final, { recursive: true, force: true });
    const seconds = Math.round((performance.now() - started) / 1000);
    await commitArtifact(join(folder, 'out'), final, { id: recipe.id, key, seconds });
  } catch (error) {
    if (signal.aborted) throw new Interrupted();
    throw buildError(recipe, log, error);
  } finally {
    output.end();
  }
}

function contextOf(
  recipe: Recipe,
  { host, cache, debian, keys, signal, onLine, whenMade }: BuildEnvironment,
  folder: string,
  output: WriteStream,
): BuildContext {
  const work = join(folder, 'work');
  const run = async (argv: readonly string[]): Promise<void> => {
    // One stream for both, in the order in which they were written.
    await host.run(['sh', '-c', 'exec "$@" 2>&1', 'sh', ...argv], {
      cwd: work,
      signal,
      timeoutMs: COMMAND_TIMEOUT_MS,
      env: { LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive', TMPDIR: work },
      onLine: (line) => {
        output.write(`${plain(line)}\n`);
        onLine();
      },
    });
  };
  return {
    work,
    out: join(folder, 'out'),
    outputOf: async (id) => {
      await whenMade(id);
      return artifactFolder(cache, id, keyOf(keys, id));
    },
    run,
    script: (path, ...args) =>
      run(['unshare', '--mount', '--propagation', 'private', 'sh', assetPath('images', path), ...args]),
    sources: join(folder, 'sources.list'),
    mmdebstrapOptions: debian.aptOptions.map((option) => `--aptopt=${option}`),
    parameters: recipe.parameters,
  };
}

function keyOf(keys: ReadonlyMap<RecipeId, string>, id: RecipeId): string {
  const key = keys.get(id);
  if (key === undefined) throw new Error(`no recipe ${id}`);
  return key;
}

function buildError(recipe: Recipe, log: string, error: unknown): LabError {
  const said = error instanceof CommandError ? error.details.slice(1).map(plain) : [messageOf(error)];
  return new LabError(EXIT.wrong, `Building ${recipe.title} failed.`, {
    details: [...said, `log: ${log}`],
    next: 'Run labup again: what was built before is kept.',
    cause: error,
  });
}

// mmdebstrap gives dpkg a terminal, so that its lines end in CR LF.
function plain(line: string): string {
  return line.replace(/\r$/, '');
}

/** One build's part of the work. */
export interface Weight {
  readonly id: string;
  readonly title: string;
  /** Measured alone on two cores. */
  readonly seconds: number;
  readonly lines: number;
}

/** Says how far concurrent builds are: their logs' lines against the measured number, weighted by measured seconds. */
export class BuildProgress {
  readonly #emit: Emit;
  readonly #now: () => number;
  readonly #started: number;
  readonly #builds = new Map<
    string,
    { weight: Weight; lines: number; state: 'waiting' | 'running' | 'done' }
  >();
  #emittedAt = Number.NEGATIVE_INFINITY;

  constructor(weights: readonly Weight[], emit: Emit, now: () => number = () => performance.now()) {
    this.#emit = emit;
    this.#now = now;
    this.#started = now();
    for (const weight of weights) this.#builds.set(weight.id, { weight, lines: 0, state: 'waiting' });
  }

  start(id: string): void {
    this.#set(id, 'running');
    const running = [...this.#builds.values()].filter(({ state }) => state === 'running');
    this.#emit({ type: 'note', text: `building ${running.map(({ weight }) => weight.title).join('; ')}` });
  }

  line(id: string): void {
    const build = this.#builds.get(id);
    if (build !== undefined) build.lines += 1;
    if (this.#now() - this.#emittedAt >= 1000) this.#report();
  }

  /** Also for a build that turned out to be another labup's. */
  finish(id: string): void {
    this.#set(id, 'done');
    this.#report();
  }

  /** Seconds of measured work that are done, that there are in all, and that are left at the speed seen so far. */
  estimate(): { done: number; total: number; secondsLeft: number } {
    let done = 0;
    let total = 0;
    for (const { weight, lines, state } of this.#builds.values()) {
      // Logs differ by a few lines from host to host, so only an ended build counts in full.
      const part = state === 'done' ? 1 : Math.min(0.98, lines / weight.lines);
      done += weight.seconds * part;
      total += weight.seconds;
    }
    const elapsed = (this.#now() - this.#started) / 1000;
    // Before a tenth is done the speed is noise. Builds overlap on two cores, so a fresh estimate is the plain sum.
    const pace = done > total / 10 ? elapsed / done : 1;
    return { done: Math.round(done), total, secondsLeft: Math.ceil((total - done) * pace) };
  }

  #set(id: string, state: 'running' | 'done'): void {
    const build = this.#builds.get(id);
    if (build !== undefined) build.state = state;
  }

  #report(): void {
    this.#emittedAt = this.#now();
    this.#emit({ type: 'progress', ...this.estimate() });
  }
}
