import { expect } from 'vitest';

/** Compares with a file under test/golden/render; `npx vitest run test/render -u` writes it, the diff is the review. */
export async function expectGolden(name: string, text: string): Promise<void> {
  await expect(text).toMatchFileSnapshot(`../golden/render/${name}`);
}
