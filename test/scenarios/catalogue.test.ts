import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { CONTAINER_IMAGES } from '../../scripts/artifacts/container-images.ts';
import { SCENARIOS } from '../../scripts/scenarios/catalogue.ts';
import { assetPath, packageRoot } from '../../scripts/shared/files.ts';

const FOLDER = assetPath('manifests/scenarios');

/** Every object of the manifests of a folder. */
function objectsOf(
  folder: string,
): readonly { readonly file: string; readonly object: Record<string, unknown> }[] {
  return readdirSync(join(FOLDER, folder)).flatMap((file) =>
    parseAllDocuments(readFileSync(join(FOLDER, folder, file), 'utf8')).map((document) => ({
      file,
      object: document.toJS() as Record<string, unknown>,
    })),
  );
}

it('each scenario is in the catalogue once, in a short file of its own', () => {
  const folder = join(packageRoot, 'scripts/scenarios/catalogue');
  const files = readdirSync(folder);
  expect(files.sort()).toEqual(SCENARIOS.map(({ name }) => `${name}.ts`).sort());
  for (const file of files) {
    const lines = readFileSync(join(folder, file), 'utf8').split('\n').length;
    // The aim is 120; formatting adds some.
    expect(lines, `${file} is a lesson, and this is long`).toBeLessThanOrEqual(180);
  }
});

describe.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))('%s', (name, scenario) => {
  it('has steps of different names, each with why', () => {
    const ids = scenario.steps.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { why } of scenario.steps) expect(why).toMatch(/^\S.{10,220}[.]$/s);
  });

  it('has namespaces of its own', () => {
    for (const namespace of scenario.namespaces) {
      expect(namespace).toMatch(new RegExp(`^lab-${name}`));
      const others = SCENARIOS.filter((other) => other !== scenario);
      expect(others.flatMap((other) => other.namespaces)).not.toContain(namespace);
    }
  });

  it('names only manifests that are there', () => {
    const typed = scenario.steps.map((step) => ('change' in step ? step.change : step.look));
    const files = typed
      .flatMap(({ argv }) => argv)
      .filter((word) => typeof word === 'string' && word.startsWith(FOLDER));
    for (const file of files) expect(() => readFileSync(file as string)).not.toThrow();
  });
});

describe.each(readdirSync(FOLDER))('manifests/scenarios/%s', (folder) => {
  const objects = objectsOf(folder);

  it('is plain: objects without holes, of images that the lab brings', () => {
    const text = JSON.stringify(objects);
    expect(text).not.toMatch(/:null\b/);
    const images = [...text.matchAll(/"image":"([^"]+)"/g)].map(([, image]) => image);
    for (const image of images) expect(CONTAINER_IMAGES.map(({ reference }) => reference)).toContain(image);
  });
});
