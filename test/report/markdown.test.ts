import { describe, expect, it } from 'vitest';
import { md, toMarkdown } from '../../scripts/report/markdown.ts';
import { abortedRun } from '../../scripts/report/run.ts';
import { CELLS, runOf } from './fixtures.ts';
import { HEALTHY, TROUBLED } from './samples.ts';

describe('the Markdown report', () => {
  // After a wanted change: npx vitest run test/report -u, then review the diff.
  it.each([
    ['healthy', HEALTHY],
    ['troubled', TROUBLED],
    ['aborted', abortedRun(runOf({ cells: [], checks: [] }), 'interrupted by SIGINT', CELLS)],
  ])('of a %s run is as reviewed', async (name, run) => {
    await expect(toMarkdown(run)).toMatchFileSnapshot(`../golden/report/${name}.md`);
  });

  it('never lets text of the lab become markup', () => {
    const text = toMarkdown(TROUBLED).replaceAll(/`[^`]*`/g, '');
    expect(text).not.toMatch(/<(?!\/?(?:details|summary|b)>)/);
  });

  it('has tables whose rows all have as many cells as their head', () => {
    for (const block of toMarkdown(TROUBLED)
      .split('\n\n')
      .filter((each) => each.startsWith('|'))) {
      const columns = block
        .trimEnd()
        .split('\n')
        .map((row) => row.match(/(?<!\\)\|/g)?.length);
      expect(new Set(columns).size, block).toBe(1);
    }
  });

  it('escapes what has a meaning', () => {
    expect(md('a|b *c* `d` _e_ [f] <g> & ~h~\n  i\\')).toBe(
      'a\\|b \\*c\\* \\`d\\` \\_e\\_ \\[f\\] &lt;g&gt; &amp; \\~h\\~ i\\\\',
    );
  });
});
