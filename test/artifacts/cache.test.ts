import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { artifactFolder, cacheFolder, cacheProblem, commitArtifact } from '../../scripts/artifacts/cache.ts';

const key = 'a'.repeat(64);
let cache: string;
let folder: string;

beforeEach(async () => {
  cache = mkdtempSync(join(tmpdir(), 'cache-'));
  folder = artifactFolder(cache, 'thing', key);
  const built = join(cache, 'built');
  mkdirSync(join(built, 'sub'), { recursive: true });
  writeFileSync(join(built, 'one'), 'first');
  writeFileSync(join(built, 'sub', 'two'), 'second');
  await commitArtifact(built, folder, { id: 'thing', key, seconds: 3 });
});

describe('a cached artifact', () => {
  it('is whole after one rename, with a manifest over every file', async () => {
    expect(readdirSync(cache)).toEqual([`thing-${'a'.repeat(16)}`]);
    expect(await cacheProblem(folder, key)).toBeUndefined();
    const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
    expect(Object.keys(manifest.files).sort()).toEqual(['one', 'sub/two']);
    expect(manifest.files.one.bytes).toBe(5);
  });

  it.each<[string, () => void, string]>([
    ['truncated', () => truncateSync(join(folder, 'one'), 2), 'one has 2 bytes instead of 5'],
    ['short of a file', () => rmSync(join(folder, 'sub', 'two')), 'sub/two is missing'],
    ['without a manifest', () => rmSync(join(folder, 'manifest.json')), 'not in the cache'],
    [
      'with half a manifest',
      () => truncateSync(join(folder, 'manifest.json'), 40),
      'its manifest is not readable',
    ],
  ])('is not trusted when it is %s', async (_what, damage, problem) => {
    damage();
    expect(await cacheProblem(folder, key)).toBe(problem);
  });

  it('is not trusted under another key', async () => {
    expect(await cacheProblem(folder, 'b'.repeat(64))).toBe('its manifest is of another recipe');
  });

  it('cannot be made of nothing', async () => {
    mkdirSync(join(cache, 'empty'));
    const made = commitArtifact(join(cache, 'empty'), join(cache, 'x'), { id: 'x', key, seconds: 1 });
    await expect(made).rejects.toThrow('the build of x made no file');
  });
});

describe('the cache folder', () => {
  it('follows XDG_CACHE_HOME where that is absolute', () => {
    expect(cacheFolder({ XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe('/c/k8s-bgp-lab');
    expect(cacheFolder({ XDG_CACHE_HOME: 'relative', HOME: '/h' })).toBe('/h/.cache/k8s-bgp-lab');
    expect(cacheFolder({ HOME: '/h' })).toBe('/h/.cache/k8s-bgp-lab');
  });
});
