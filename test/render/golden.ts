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

/** Compares what is different from another text that has a golden, as lines of `diff`. */
export async function expectDifference(name: string, from: string, text: string): Promise<void> {
  await expectGolden(name, `${differences(from, text).join('\n')}\n`);
}

/** Lines taken from a text, after "- ", and lines that are new in the other, after "+ ", in their order. */
export function differences(from: string, to: string): readonly string[] {
  const [old, now] = [from.split('\n'), to.split('\n')];
  /** How many lines the rests of both have in common, from a line of each on. */
  const common = Array.from({ length: old.length + 1 }, () => new Array<number>(now.length + 1).fill(0));
  const inCommon = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      (common[i] as number[])[j] =
        old[i] === now[j] ? inCommon(i + 1, j + 1) + 1 : Math.max(inCommon(i + 1, j), inCommon(i, j + 1));
  const lines: string[] = [];
  for (let i = 0, j = 0; i < old.length || j < now.length; ) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      i++;
      j++;
    } else if (j === now.length || (i < old.length && inCommon(i + 1, j) >= inCommon(i, j + 1)))
      lines.push(`- ${old[i++]}`);
    else lines.push(`+ ${now[j++]}`);
  }
  return lines;
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
