import { describe, expect, it } from 'vitest';
import { toHtml } from '../../scripts/report/html/page.ts';
import { buildReport } from '../../scripts/report/json.ts';
import { renderTable } from '../../scripts/report/table.ts';
import { CELLS, NEGATIVE, POSITIVE, runOf } from './fixtures.ts';

const EXTERNAL = 'ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp';
const NAME = 'ubuntu>headless:1234/tcp';

/** A run of cells that must fail, and of a positive control that was added. */
function partial(...controlOf: string[]) {
  return runOf({
    cells: CELLS.filter(({ id }) => [EXTERNAL, NEGATIVE, NAME, POSITIVE].includes(id)).map((cell) =>
      cell.id === POSITIVE ? { ...cell, controlOf } : cell,
    ),
  });
}

describe('a cell that was added as a positive control', () => {
  it.each([
    [[EXTERNAL], `added as positive control of ${EXTERNAL}`],
    [[EXTERNAL, NEGATIVE], `added as positive control of ${EXTERNAL} and 1 more cell`],
    [[EXTERNAL, NEGATIVE, NAME], `added as positive control of ${EXTERNAL} and 2 more cells`],
  ])('of %j is shown as such', (controlOf, text) => {
    const run = partial(...controlOf);
    expect(renderTable(run, { color: false }).replaceAll(/\s+/g, ' ')).toContain(`${POSITIVE}: ${text}`);
    const page = toHtml(run);
    expect(page).toContain(`</code></a> ${text.replaceAll('>', '&gt;')}</li>`);
    expect(page).toContain(`"added":${JSON.stringify(text)}`);
    const { cells } = buildReport(run);
    expect(cells.filter((cell) => cell.controlOf !== undefined)).toMatchObject([{ id: POSITIVE, controlOf }]);
  });

  it('is one of a run that says how many cells there are', () => {
    const run = { ...partial(EXTERNAL), chosenFrom: 248 };
    expect(renderTable(run, { color: false })).toContain('cells:  4 of 248 planned: 4 passed');
    expect(toHtml(run)).toContain('<dt>cells</dt><dd>4<small> of 248</small></dd>');
    expect(buildReport(run)).toMatchObject({ chosenFrom: 248, summary: { planned: 4 } });
  });

  it('is spoken of nowhere in a run without one', () => {
    const run = runOf();
    for (const text of [renderTable(run, { color: false }), toHtml(run)])
      expect(text).not.toContain('positive control');
  });
});
