import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CONTAINER_IMAGES } from '../../scripts/artifacts/container-images.ts';
import { recipeKeys } from '../../scripts/artifacts/ensure.ts';
import { assetFiles, type Recipe, type RecipeId, recipeKey } from '../../scripts/artifacts/recipe.ts';
import { baseRecipes, recipes } from '../../scripts/artifacts/recipes.ts';
import { assetPath } from '../../scripts/shared/files.ts';

const recipe: Recipe = {
  id: 'machine-image',
  title: 'a machine',
  revision: 1,
  needs: ['kubernetes'],
  assets: [],
  parameters: { suite: 'bookworm', architecture: 'amd64' },
  seconds: 1,
  lines: 1,
  build: async () => {},
};
const file = (name: string, content: string) => ({ name, content: Buffer.from(content) });
const files = [file('a', '1'), file('b', '2')];
const keys = new Map<RecipeId, string>([['kubernetes', 'k1']]);
const key = recipeKey(recipe, files, keys);

describe('recipe key', () => {
  it('is the same for the same recipe, whatever the order of its parameters', () => {
    const reordered = { ...recipe, parameters: { architecture: 'amd64', suite: 'bookworm' } };
    expect(recipeKey(reordered, files, keys)).toBe(key);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each<[string, () => string]>([
    ['its revision', () => recipeKey({ ...recipe, revision: 2 }, files, keys)],
    [
      'a parameter',
      () => recipeKey({ ...recipe, parameters: { suite: 'trixie', architecture: 'amd64' } }, files, keys),
    ],
    ["a file's content", () => recipeKey(recipe, [file('a', '1'), file('b', '3')], keys)],
    ["a file's name", () => recipeKey(recipe, [file('a', '1'), file('c', '2')], keys)],
    ['the boundary between two files', () => recipeKey(recipe, [file('a', '1b2')], keys)],
    ['what it needs', () => recipeKey(recipe, files, new Map([['kubernetes', 'k2']]))],
  ])('changes with %s', (_what, other) => {
    expect(other()).not.toBe(key);
  });

  it('does not change with titles and measured durations', () => {
    expect(recipeKey({ ...recipe, title: 'x', seconds: 9, lines: 9 }, files, keys)).toBe(key);
  });

  it('throws where a recipe comes before one that it needs', () => {
    expect(() => recipeKey(recipe, files, new Map())).toThrow(/machine-image comes before kubernetes/);
  });
});

describe('asset files', () => {
  it('are all files of a folder, sorted, without what Python compiled', () => {
    const root = mkdtempSync(join(tmpdir(), 'assets-'));
    mkdirSync(join(root, 'f', '__pycache__'), { recursive: true });
    for (const name of ['f/b.py', 'f/a.py', 'f/__pycache__/a.pyc', 'g'])
      writeFileSync(join(root, name), name);
    expect(assetFiles(['g', 'f'], (path) => join(root, path)).map(({ name }) => name)).toEqual([
      'f/a.py',
      'f/b.py',
      'g',
    ]);
  });
});

describe('the recipes', () => {
  const all = recipes('amd64');

  it('have keys of their own, which differ by architecture', () => {
    const amd64 = [...recipeKeys(all).values()];
    const arm64 = [...recipeKeys(recipes('arm64')).values()];
    expect(new Set([...amd64, ...arm64]).size).toBe(2 * all.length);
  });

  it('of a lab whose Kubernetes comes from elsewhere build none, and share the packages', () => {
    const base = baseRecipes('amd64');
    expect(base.map(({ id }) => id)).toEqual([
      'machine-root',
      'container-layers',
      'echo-image',
      'machine-base',
    ]);
    const keys = recipeKeys(all);
    const baseKeys = recipeKeys(base);
    for (const id of ['machine-root', 'container-layers'] as const)
      expect(baseKeys.get(id)).toBe(keys.get(id));
    expect(base.flatMap(({ needs }) => needs).sort()).toEqual(['container-layers', 'machine-root']);
  });

  it('make the images for pods without Kubernetes', async () => {
    const work = mkdtempSync(join(tmpdir(), 'echo-'));
    const out = mkdtempSync(join(work, 'out-'));
    const layers = mkdtempSync(join(work, 'layers-'));
    for (const name of ['base', 'nginx', 'toolbox', 'ingress'])
      execFileSync('tar', ['-C', layers, '-cf', join(layers, `${name}.tar`), '--files-from', '/dev/null']);
    const echo = baseRecipes('amd64').find(({ id }) => id === 'echo-image');
    const run = async ([program = '', ...args]: readonly string[]) => void execFileSync(program, args);
    await echo?.build({
      work,
      out,
      async outputOf(id) {
        if (id !== 'container-layers') throw new Error(`it needs ${id}`);
        return layers;
      },
      script: async () => {},
      run,
      sources: '',
      mmdebstrapOptions: [],
      parameters: echo.parameters,
    });
    expect(readdirSync(out)).toEqual(['echo.tar']);
    const manifest = execFileSync('tar', ['-xOf', join(out, 'echo.tar'), 'manifest.json'], {
      encoding: 'utf8',
    });
    expect(JSON.parse(manifest).map(({ RepoTags }: { RepoTags: string[] }) => RepoTags[0])).toEqual([
      'registry.lab.internal/lab/nginx:1',
      'registry.lab.internal/lab/toolbox:1',
      'registry.lab.internal/lab/ingress:1',
      'registry.lab.internal/lab/echo:1',
    ]);
  });

  it('list each package once', () => {
    const lists = ['kubernetes/packages.txt', 'machine/packages.txt'];
    const layers = [...new Set(CONTAINER_IMAGES.flatMap(({ layers }) => layers))];
    for (const list of [...lists, ...layers.map((name) => `containers/${name}.packages.txt`)]) {
      const names = readFileSync(assetPath('images', list), 'utf8').trim().split('\n');
      const packages = names.filter((line) => !line.startsWith('#'));
      expect(new Set(packages).size, list).toBe(packages.length);
      for (const name of packages) expect(name, list).toMatch(/^[a-z0-9][a-z0-9+.-]+$/);
    }
  });

  it('are shell scripts that a POSIX shell can read', () => {
    const scripts = all
      .flatMap(({ assets }) => assetFiles(assets))
      .filter(({ content }) => content.subarray(0, 9).toString() === '#!/bin/sh');
    expect(scripts.length).toBeGreaterThan(6);
    for (const { name } of scripts) execFileSync('sh', ['-n', assetPath(name)]);
  });

  it('put every container image under a reference of its own', () => {
    const references = CONTAINER_IMAGES.map(({ reference }) => reference);
    expect(new Set(references).size).toBe(references.length);
    for (const reference of references)
      expect(reference).toMatch(/^registry\.lab\.internal\/(k8s|lab)\/[a-z-]+:\S+$/);
  });
});
