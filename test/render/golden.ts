import { readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/** The folder of this folder's goldens. */
export const GOLDENS = join(dirname(fileURLToPath(import.meta.url)), '..', 'golden', 'render');

const used = new Set<string>();

/** Compares with a file under test/golden/render; `npx vitest run test/render -u` writes it, the diff is the review. */
export async function expectGolden(name: string, text: string): Promise<void> {
  used.add(name);
  await expect(text).toMatchFileSnapshot(join(GOLDENS, name));
}

/** The goldens that no expectGolden of this test file has asked for. */
export function unusedGoldens(): readonly string[] {
  return goldenFiles().filter((name) => !used.has(name));
}

/** Every golden whose path ends like that, relative to GOLDENS. */
export function goldenFiles(ending = ''): readonly string[] {
  return readdirSync(GOLDENS, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(GOLDENS, join(entry.parentPath, entry.name)))
    .filter((name) => name.endsWith(ending))
    .sort();
}
