import { existsSync, mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { artifactFolder } from '../../scripts/artifacts/cache.ts';
import { ensureArtifacts, missingArtifacts, recipeKeys } from '../../scripts/artifacts/ensure.ts';
import type { BuildContext, Recipe, RecipeId } from '../../scripts/artifacts/recipe.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import type { LabEvent } from '../../scripts/shared/events.ts';
import { gate } from '../../scripts/shared/wait.ts';

let cache: string;
let built: RecipeId[];
let events: LabEvent[];

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'cache-'));
  built = [];
  events = [];
});

function recipe(
  id: RecipeId,
  needs: RecipeId[] = [],
  build?: (context: BuildContext) => Promise<void>,
): Recipe {
  return {
    id,
    title: `the ${id}`,
    revision: 1,
    needs,
    assets: [],
    parameters: {},
    seconds: 30,
    lines: 2,
    build: async (context) => {
      await build?.(context);
      const needed = await Promise.all(needs.map(context.outputOf));
      writeFileSync(join(context.out, 'file'), needed.map((folder) => join(folder, 'file')).join());
      built.push(id);
    },
  };
}

const all = (build?: (context: BuildContext) => Promise<void>) => [
  recipe('kubernetes', [], build),
  recipe('machine-image', ['kubernetes']),
];
const ensure = (recipes = all(), signal?: AbortSignal) =>
  ensureArtifacts({
    host: localExecutor(signal),
    emit: (event) => events.push(event),
    cache,
    all: recipes,
    signal,
  });
const folderOf = (id: RecipeId) => artifactFolder(cache, id, recipeKeys(all()).get(id) ?? '');

describe('ensureArtifacts', () => {
  it('builds what is missing, in the order of need, and nothing the second time', async () => {
    expect((await missingArtifacts({ cache, all: all() })).map(({ id }) => id)).toEqual([
      'kubernetes',
      'machine-image',
    ]);
    const { machineImage, kubectl } = await ensure();
    expect(built).toEqual(['kubernetes', 'machine-image']);
    expect(machineImage?.rootfsFile).toBe(join(folderOf('machine-image'), 'rootfs.squashfs'));
    expect(kubectl).toBe(join(folderOf('kubernetes'), 'kubectl'));
    expect(readFileSync(join(folderOf('machine-image'), 'file'), 'utf8')).toBe(
      join(folderOf('kubernetes'), 'file'),
    );
    await ensure();
    expect(built).toHaveLength(2);
    expect(await missingArtifacts({ cache, all: all() })).toEqual([]);
    expect(readdirSync(cache).filter((name) => name.startsWith('.build-'))).toEqual([]);
  });

  it('builds a damaged artifact again, and says so', async () => {
    await ensure();
    writeFileSync(join(folderOf('kubernetes'), 'file'), 'longer');
    expect(await missingArtifacts({ cache, all: all() })).toMatchObject([
      { id: 'kubernetes', why: 'file has 6 bytes instead of 0' },
    ]);
    await ensure();
    expect(built).toEqual(['kubernetes', 'machine-image', 'kubernetes']);
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning' }));
    truncateSync(join(folderOf('machine-image'), 'manifest.json'), 3);
    await ensure();
    expect(built.at(-1)).toBe('machine-image');
  });

  it('fails with the end of the log and its path, keeps nothing half built, and goes on from there', async () => {
    const broken = all(({ run }) =>
      run(['sh', '-c', 'printf "unpacking\\r\\n"; echo "no space" >&2; exit 3']),
    );
    const error = await ensure(broken).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ message: 'Building the kubernetes failed.', exitCode: 1 });
    const details = (error as { details: string[] }).details;
    expect(details.slice(0, 2)).toEqual(['unpacking', 'no space']);
    const log = details.at(-1)?.replace('log: ', '') ?? '';
    expect(readFileSync(log, 'utf8')).toBe('unpacking\nno space\n');
    expect(built).toEqual([]);
    expect(readdirSync(cache)).toEqual(['logs']);
    await ensure();
    expect(built).toEqual(['kubernetes', 'machine-image']);
  });

  it('begins when the first of its needs is made, and waits for the others where it asks for them', async () => {
    const began = gate();
    const early = recipe('machine-image', ['machine-root', 'kubernetes'], async () => began.open());
    await ensure([recipe('machine-root'), recipe('kubernetes', [], () => began.passed), early]);
    expect(built).toEqual(['machine-root', 'kubernetes', 'machine-image']);
  });

  it('goes on while what a finished build worked with is removed', async () => {
    let left: readonly string[] = [];
    // What still runs there is ended before the removal, which takes a while.
    const busy = recipe('kubernetes', [], ({ run }) => run(['sh', '-c', 'sleep 60 > /dev/null 2>&1 &']));
    const next = recipe('machine-image', ['kubernetes'], async () => {
      left = readdirSync(cache).filter((name) => name.startsWith('.build-kubernetes-'));
    });
    await ensure([busy, next]);
    expect(left).toHaveLength(1);
    expect(readdirSync(cache).filter((name) => name.startsWith('.build-'))).toEqual([]);
  });

  it('names the build that failed and not one that waited for it', async () => {
    const began = gate();
    const early = recipe('machine-image', ['machine-root', 'kubernetes'], async () => began.open());
    const broken = recipe('kubernetes', [], async ({ run }) => {
      await began.passed;
      await run(['false']);
    });
    await expect(ensure([recipe('machine-root'), broken, early])).rejects.toThrow(
      'Building the kubernetes failed.',
    );
    expect(readdirSync(cache).filter((name) => name.startsWith('.build-'))).toEqual([]);
  });

  it('ends the other builds when one fails', async () => {
    let other: 'running' | 'ended' = 'running';
    const slow = recipe('machine-root', [], async ({ run }) => {
      await run(['sleep', '60']).finally(() => {
        other = 'ended';
      });
    });
    const broken = recipe('kubernetes', [], ({ run }) => run(['false']));
    await expect(ensure([slow, broken])).rejects.toThrow('Building the kubernetes failed.');
    expect(other).toBe('ended');
  });

  it('lets two build at once only one time, and tells the second what it waits for', async () => {
    const slowly = all(({ run }) => run(['sleep', '0.5']));
    await Promise.all([ensure(slowly), ensure(slowly)]);
    expect(built).toEqual(['kubernetes', 'machine-image']);
    expect(events).toContainEqual({
      type: 'note',
      text: 'waiting for another labup to finish building the kubernetes',
    });
  });

  it('stops when it is interrupted, and leaves nothing half built', async () => {
    const abort = new AbortController();
    const slow = all(async ({ run }) => {
      setTimeout(() => abort.abort(), 100);
      await run(['sleep', '60']);
    });
    await expect(ensure(slow, abort.signal)).rejects.toThrow('Interrupted');
    expect(existsSync(folderOf('kubernetes'))).toBe(false);
    expect(readdirSync(cache)).toEqual(['logs']);
  });
});
