import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CommandError } from '../exec/command-error.ts';
import type { Executor } from '../exec/executor.ts';
import { assetPath } from '../shared/assets.ts';
import { EXIT, Interrupted, LabError, messageOf } from '../shared/errors.ts';
import { renderSources } from './apt-sources.ts';
import { artifactFolder, commitArtifact } from './cache.ts';
import { type DebianSource, KEYRING, SUITE } from './debian.ts';
import { buildFolder, removeBuild } from './leftovers.ts';
import type { BuildContext, Recipe, RecipeId } from './recipe.ts';

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
}

/** The file that a build's output goes to. */
export function logFile(cache: string, { id }: Recipe, key: string): string {
  return join(cache, 'logs', `${id}-${key.slice(0, 16)}.log`);
}

/**
 * Builds one recipe beside its place in the cache and moves it there when it is whole. The caller holds its lock.
 * Throws LabError with the log's path and its end; what was half built is removed, if this process lives to do it.
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
    await removeBuild(folder);
  }
}

function contextOf(
  recipe: Recipe,
  { host, cache, debian, keys, signal, onLine }: BuildEnvironment,
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
    outputOf: (id) => artifactFolder(cache, id, keyOf(keys, id)),
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
