import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { pageData } from '../../scripts/report/html/data.ts';
import { html, jsonScript, raw } from '../../scripts/report/html/markup.ts';
import { toHtml } from '../../scripts/report/html/page.ts';
import { abortedRun } from '../../scripts/report/run.ts';
import { CELLS, runOf } from './fixtures.ts';
import { HEALTHY, HOSTILE, TROUBLED, TWENTY } from './samples.ts';

describe('markup', () => {
  it('escapes values in text and attributes', () => {
    expect(html`<a title="${'"><b>'}">${HOSTILE}</a>`.text).toBe(
      '<a title="&quot;&gt;&lt;b&gt;">&lt;/script&gt;&lt;script&gt;globalThis.pwned = true&lt;/script&gt;&lt;img src=x onerror=&quot;pwned=true&quot;&gt; &amp; &quot;quoted&quot;</a>',
    );
  });

  it('takes markup, lists, numbers, and nothing for undefined and false', () => {
    expect(html`${[html`<i>1</i>`, [2, 'a&b']]}${undefined}${false}${0}${raw('<hr>')}`.text).toBe(
      '<i>1</i>2a&amp;b0<hr>',
    );
  });

  it('writes JSON that cannot end its element and reads back the same', () => {
    const value = { text: `${HOSTILE}<!-- <script>` };
    const { text } = jsonScript('data', value);
    const [, json = ''] = /^<script type="application\/json" id="data">(.*)<\/script>$/s.exec(text) ?? [];
    expect(json).not.toContain('<');
    expect(JSON.parse(json)).toEqual(value);
  });
});

describe('the HTML report', () => {
  const page = toHtml(TROUBLED);

  it('is smaller than 400 kB for the default matrix', () => {
    expect(TROUBLED.cells).toHaveLength(248);
    expect(Buffer.byteLength(page)).toBeLessThan(400_000);
    expect(Buffer.byteLength(toHtml(HEALTHY))).toBeLessThan(400_000);
  });

  it('needs nothing from elsewhere', () => {
    expect(page).not.toMatch(/\b(?:src|href)="(?!#)/);
    expect(page).not.toMatch(/@import|url\((?!#)|https?:\/\/(?!www\.w3\.org)/);
  });

  it('lets the browser run no script but its own', () => {
    const [, hash] = /script-src 'sha256-([^']+)'/.exec(page) ?? [];
    const scripts = [...page.matchAll(/<script>(.*?)<\/script>/gs)].map(([, script = '']) => script);
    expect(scripts).toHaveLength(1);
    expect(createHash('sha256').update(scripts.join('')).digest('base64')).toBe(hash);
  });

  it('never lets text of the lab become markup', () => {
    expect(page).not.toContain('<img');
    expect(page).not.toContain('<script>globalThis');
    expect(page).toContain('&lt;img src=x');
  });

  it('has every cell, in the grid and in the data', () => {
    for (const { cell } of TROUBLED.cells)
      expect(page).toContain(`id="cell-${cell.id.replaceAll('>', '&gt;')}"`);
    expect(pageData(TROUBLED).cells.map(({ id }) => id)).toEqual(TROUBLED.cells.map(({ cell }) => cell.id));
  });

  it('leaves out what the run does not have', () => {
    const bare = toHtml(runOf({ checks: [] }));
    for (const id of ['trouble', 'topology', 'checks', 'ecmp', 'tables', 'timings'])
      expect(bare).not.toContain(`<section id="${id}"`);
    expect(bare).toContain('<section id="matrix"');
    expect(toHtml(runOf({ cells: [] }))).not.toContain('<section id="matrix"');
  });

  it('says that a run was aborted or that the lab moved', () => {
    const aborted = toHtml(abortedRun(runOf({ cells: [] }), 'k8sworker1 is gone', CELLS));
    expect(aborted).toContain('The run was aborted.</b> k8sworker1 is gone');
    expect(aborted).toContain('248 cells skipped');
    expect(page).toContain('EndpointSlice echo-np-tcp went from generation 3 to 4');
    expect(toHtml(HEALTHY)).not.toContain('class="banner');
  });

  it('keeps up with the largest lab', () => {
    const started = performance.now();
    const large = toHtml(TWENTY);
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(large).toContain('k8sworker20');
  });
});
