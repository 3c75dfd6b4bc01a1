import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { writeDockerArchive } from '../../scripts/artifacts/container-images.ts';

it('writes what "docker save" writes: the same names for the same input, and a common layer once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'archive-'));
  const layer = join(folder, 'layer');
  writeFileSync(layer, 'not really a tar file');
  const file = join(folder, 'image.tar');
  const image = {
    reference: 'registry.lab.internal/lab/x:1',
    layers: [layer],
    environment: ['PATH=/bin'],
    entrypoint: ['/x'],
    architecture: 'amd64',
  };
  const tar = async (args: readonly string[]) => {
    execFileSync('tar', args);
  };
  const other = { ...image, reference: 'registry.lab.internal/lab/y:1', entrypoint: ['/y'] };
  await writeDockerArchive([image, other], file, join(folder, 'staging'), tar);
  expect(existsSync(join(folder, 'staging'))).toBe(false);

  const digest = execFileSync('sha256sum', [layer]).toString().slice(0, 64);
  const names = execFileSync('tar', ['-tf', file]).toString().trim().split('\n');
  const read = (name: string) => JSON.parse(execFileSync('tar', ['-xOf', file, name]).toString());
  const [manifest, second] = read('manifest.json');
  expect(names).toEqual(['manifest.json', manifest.Config, `${digest}.tar`, second.Config]);
  expect(second).toMatchObject({ RepoTags: [other.reference], Layers: [`${digest}.tar`] });
  expect(manifest).toMatchObject({ RepoTags: ['registry.lab.internal/lab/x:1'], Layers: [`${digest}.tar`] });
  expect(read(manifest.Config)).toMatchObject({
    os: 'linux',
    architecture: 'amd64',
    config: { Entrypoint: ['/x'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  });
});
