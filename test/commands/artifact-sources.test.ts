import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { artifactFolder, commitArtifact } from '../../scripts/artifacts/cache.ts';
import { debianArchitecture } from '../../scripts/artifacts/debian.ts';
import { recipeKeys } from '../../scripts/artifacts/ensure.ts';
import type { RecipeId } from '../../scripts/artifacts/recipe.ts';
import { baseRecipes } from '../../scripts/artifacts/recipes.ts';
import { bundleArtifacts } from '../../scripts/commands/artifact-sources.ts';
import { localExecutor } from '../../scripts/exec/local.ts';
import { filesOf } from '../../scripts/plan/software.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';
import { K3S_FILES, writeBundle } from '../fakes/bundle.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';

let folder: string;
let cache: string;
let local: ReturnType<typeof recordingExecutor>;
const source = () => bundleArtifacts(join(folder, 'bundle'), local, cache);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bundle source's "));
  cache = join(folder, 'cache');
  local = recordingExecutor();
  writeBundle(join(folder, 'bundle'));
});

/** Puts what a recipe makes into the cache, without making it. */
async function cached(id: RecipeId, ...names: readonly string[]): Promise<void> {
  const key = recipeKeys(baseRecipes()).get(id) ?? '';
  const built = join(folder, `built-${id}`);
  mkdirSync(built);
  for (const name of names) writeFileSync(join(built, name), name);
  await commitArtifact(built, artifactFolder(cache, id, key), { id, key, seconds: 1 });
}

async function refusal(work: Promise<unknown>): Promise<UserError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof UserError) return error;
  throw error ?? new Error('nothing was refused');
}

describe('a bundle that was put together by hand', () => {
  it('is completed with what the cache has, and k3s is its kubectl', async () => {
    await cached('echo-image', 'echo.tar');
    await cached('machine-base', 'metadata.tar', 'rootfs.squashfs');
    expect(await source().missing('prebuilt')).toEqual([]);
    const { artifacts, changed } = await source().ensure('prebuilt', silent);
    expect(changed).toBe(false);
    expect(filesOf(artifacts.software, 'echo-image')[0]).toMatchObject({
      nodes: ['worker'],
      inMachineImage: false,
    });
    expect(readFileSync(artifacts.image?.rootfsFile ?? '', 'utf8')).toBe('rootfs.squashfs');
    const { stdout } = await localExecutor().run([artifacts.kubectl, 'get', 'nodes']);
    expect(stdout).toMatch(/^(.*)\/config.yaml: kubectl get nodes$/m);
    const config = stdout.split(':')[0] ?? '';
    expect(readFileSync(config, 'utf8')).toBe(`data-dir: "${join(config, '..', 'data')}"\n`);
    expect(local.calls).toEqual([]);
  });

  it('needs no machine image where machines have one of their own', async () => {
    await cached('echo-image', 'echo.tar');
    const { artifacts } = await source().ensure('plain', silent);
    expect(artifacts.image).toBeUndefined();
  });

  it('names what neither it nor the cache has', async () => {
    const error = await refusal(source().missing('prebuilt'));
    expect(error.details).toEqual([
      'the echo image: no file with role echo-image, and none in the cache',
      'the machine image: no file with role machine-rootfs, and none in the cache',
    ]);
    expect(error.next).toContain('lab bundle create --from debian');
  });

  it('is checked before anything is touched', async () => {
    appendFileSync(join(folder, 'bundle/k3s-images.tar.gz'), 'x');
    const error = await refusal(source().missing('plain'));
    expect(error.exitCode).toBe(2);
    expect(error.details).toEqual([
      expect.stringContaining('k3s-images.tar.gz: altered'),
      'container image docker.io/rancher/mirrored-pause:3.10.2: in no image archive',
      'container image docker.io/rancher/mirrored-coredns-coredns:1.14.6: in no image archive',
    ]);
  });

  it('of another architecture is refused', async () => {
    const other = debianArchitecture() === 'amd64' ? 'arm64' : 'amd64';
    writeBundle(join(folder, 'bundle'), K3S_FILES, { architecture: other });
    expect((await refusal(source().missing('plain'))).message).toContain(`is for ${other}`);
  });
});
