import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CellResult } from '../../scripts/matrix/types.ts';
import { describeEvidence, describeProof } from '../../scripts/report/cell-text.ts';
import { toHtml } from '../../scripts/report/html/page.ts';
import { NEGATIVE, POSITIVE } from './fixtures.ts';
import { EVIDENCE, HOSTILE, TROUBLED, TWENTY } from './samples.ts';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const isThere = existsSync(CHROMIUM);
if (!isThere)
  process.stderr.write(
    `SKIPPED: the HTML report in a browser, because there is no ${CHROMIUM}. apt-get install chromium, or set CHROMIUM.\n`,
  );

// As many columns as the largest lab has; its rows would only cost time.
const wide = {
  ...TWENTY,
  cells: TWENTY.cells.filter(({ cell }) => ['k8sworker1', 'bgp', 'ubuntu'].includes(cell.from)),
};

// What a run of chosen cells has: one or two columns per heading.
const few = {
  ...TROUBLED,
  cells: TROUBLED.cells.filter(({ cell }) =>
    [NEGATIVE, POSITIVE, 'ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp', 'ubuntu>pod/echo-server1:1234/tcp'].includes(
      cell.id,
    ),
  ),
};

const web = {
  ...few,
  cells: few.cells.map((result): CellResult => {
    const { cell, observed } = result;
    if (cell.id !== POSITIVE || observed === null) return result;
    return {
      ...result,
      cell: { ...cell, talk: 'http', httpStatus: 200 },
      observed: { ...observed, httpStatus: 503 },
    };
  }),
};

describe.skipIf(!isThere)('the HTML report in Chromium', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-report-'));
  let browser: Browser;
  let page: Page;
  const faults: string[] = [];
  const requests: string[] = [];

  beforeAll(async () => {
    writeFileSync(join(folder, 'report.html'), toHtml(TROUBLED));
    writeFileSync(join(folder, 'wide.html'), toHtml(wide));
    writeFileSync(join(folder, 'few.html'), toHtml(few));
    writeFileSync(join(folder, 'web.html'), toHtml(web));
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  }, 30_000);

  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true });
  });

  // Whatever a test does, the page must not complain, nor ask for anything but itself.
  afterEach(async () => {
    await page.context().close();
    expect(faults.splice(0)).toEqual([]);
    expect(requests.splice(0).filter((url) => !url.startsWith('file:///'))).toEqual([]);
  });

  async function open(hash = '', options: BrowserContextOptions = {}, file = 'report.html'): Promise<void> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    page = await context.newPage();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push(message.text());
    });
    page.on('pageerror', ({ message }) => faults.push(message));
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(`${pathToFileURL(join(folder, file))}${hash}`);
  }

  const cell = (id: string) => page.locator(`[id="cell-${id}"]`);
  const panel = () => page.getByRole('dialog');
  const hashOf = (id: string) => `#cell-${encodeURIComponent(id)}`;

  it('shows a clicked cell with its chain and evidence', async () => {
    await open();
    expect(await panel().isVisible()).toBe(false);
    await cell(POSITIVE).click();
    const text = await panel().innerText();
    expect(text).toContain(POSITIVE);
    expect(text).toContain(describeEvidence(EVIDENCE));
    expect(await panel().locator('.chain > li .at').allInnerTexts()).toEqual([
      'ubuntu',
      'k8sworker1',
      'pod/echo-server1',
    ]);
    expect(await panel().locator('.chain > li.differs .at').allInnerTexts()).toEqual(['k8sworker1']);
    expect(await panel().locator('.evidence > li.agrees').count()).toBe(1);
    // What the lab says is shown as text and does nothing.
    expect(text).toContain(HOSTILE);
    expect(await page.evaluate('globalThis.pwned')).toBeUndefined();
    expect(await page.locator('img').count()).toBe(0);
    expect(new URL(page.url()).hash).toBe(hashOf(POSITIVE));
  });

  it('shows what proves that a connection rightly failed', async () => {
    await open(hashOf(NEGATIVE));
    const proof = TROUBLED.cells.find(({ cell }) => cell.id === NEGATIVE)?.proof;
    expect(await panel().locator('.proof > li').allInnerTexts()).toEqual(proof?.map(describeProof));
    expect(await panel().getByRole('heading', { name: 'What proves that it fails there' }).isVisible()).toBe(
      true,
    );
    await cell(POSITIVE).click();
    expect(await panel().locator('.proof').count()).toBe(0);
  });

  it('shows how a web server was spoken to, and the status that it gave', async () => {
    await open(hashOf(POSITIVE), {}, 'web.html');
    expect(await panel().innerText()).toContain('asked GET /');
    const row = panel().locator('.compare tbody tr', { hasText: 'status' });
    expect(await row.locator('td').allInnerTexts()).toEqual(['200', '503']);
    expect(await row.locator('td.differs').allInnerTexts()).toEqual(['503']);
    await cell(NEGATIVE).click();
    expect(await panel().innerText()).not.toMatch(/status|GET/);
  });

  it('works by keyboard alone', async () => {
    await open();
    const grid = page.getByRole('grid');
    expect(await grid.locator('[tabindex="0"]').count()).toBe(1);
    await grid.locator('[tabindex="0"]').focus();
    const focused = () => page.evaluate<string>('document.activeElement.id');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    expect(await focused()).toBe('cell-k8sworker1>pod/echo-server2:1234/tcp');
    await page.keyboard.press('Control+End');
    expect(await focused()).toBe('cell-ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowRight');
    expect(await focused()).toBe('cell-ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    expect(await panel().getByRole('heading').first().innerText()).toContain('routed>echo-lb-tcp/2.2.2.2');
    expect(await focused()).toBe('panel');
    await page.keyboard.press('Escape');
    expect(await panel().isVisible()).toBe(false);
    expect(await focused()).toBe('cell-routed>echo-lb-tcp/2.2.2.2:1234/tcp');
    expect(await grid.locator('[tabindex="0"]').count()).toBe(1);
  });

  it('opens the cell that a link names, and none for a link to nothing', async () => {
    await open(hashOf(POSITIVE));
    expect(await panel().innerText()).toContain(POSITIVE);
    // The browser's own scrolling comes late, and would leave the cell at the edge of the window.
    // Playwright's waitForFunction polls with eval, which the report's content security policy forbids.
    const box = `document.getElementById(${JSON.stringify(`cell-${POSITIVE}`)}).getBoundingClientRect()`;
    const isInside = () => page.evaluate<boolean>(`${box}.top > 100 && ${box}.bottom < innerHeight - 100`);
    await expect.poll(isInside, { timeout: 10_000 }).toBe(true);
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: POSITIVE }).click();
    expect(await panel().innerText()).toContain(POSITIVE);
    await page.evaluate("location.hash = '#cell-%E0%A4%A'");
    await page.evaluate("location.hash = '#cell-nobody>nothing'");
    expect(await panel().innerText()).toContain(POSITIVE);
  });

  it('prints every failed cell in full, without scroll areas', async () => {
    await open();
    await page.emulateMedia({ media: 'print' });
    await page.locator('.in-full .cell').first().waitFor();
    const failed = TROUBLED.cells.filter(({ verdict }) => verdict === 'failed' || verdict === 'flaky');
    expect(await page.locator('.in-full .cell:visible').count()).toBe(failed.length);
    const overflows = await page.evaluate<string[]>(
      "[...document.querySelectorAll('.scroll')].map((each) => getComputedStyle(each).overflow)",
    );
    expect(new Set(overflows)).toEqual(new Set(['visible']));
    const pdf = await page.pdf({ preferCSSPageSize: true });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    await page.emulateMedia({ media: 'screen' });
    await page.locator('.in-full .cell').first().waitFor({ state: 'hidden' });
    expect(await page.locator('.in-full .cell:visible').count()).toBe(0);
  });

  it.each(['report.html', 'few.html'])('has headings that do not run into each other: %s', async (file) => {
    await open('', {}, file);
    for (const row of ['.title', '.subtitle span']) {
      // The text itself: the heading's own box is as narrow as its columns.
      const edges = await page.evaluate<[number, number][]>(
        `[...document.querySelectorAll('.matrix ${row}')].map((each) => {
          const range = document.createRange();
          range.selectNodeContents(each);
          const { left, right } = range.getBoundingClientRect();
          return [left, right];
        })`,
      );
      expect(edges.length).toBeGreaterThan(1);
      const overlaps = edges.filter(
        ([, right], index) => right > (edges[index + 1]?.[0] ?? Number.POSITIVE_INFINITY),
      );
      expect(overlaps, row).toEqual([]);
    }
  });

  it('cuts a matrix that is wider than paper', async () => {
    await open('', {}, 'wide.html');
    const whole = await page.locator('table.matrix td[tabindex]').count();
    await page.emulateMedia({ media: 'print' });
    await page.locator('.piece').first().waitFor();
    expect(await page.locator('.piece td:not(.corner)').count()).toBe(whole);
    const width = await page.evaluate<number>(
      "Math.max(...[...document.querySelectorAll('.piece')].map((each) => each.clientWidth))",
    );
    // A4 less its margins is 186 mm, at 96 pixels per inch.
    expect(width).toBeLessThan((186 / 25.4) * 96);
    await page.emulateMedia({ media: 'screen' });
    await page.locator('.piece').first().waitFor({ state: 'detached' });
  });

  it('is readable in the dark, and no wider than a phone', async () => {
    await open('', { colorScheme: 'dark', viewport: { width: 390, height: 800 } });
    const lightness = async (property: 'color' | 'backgroundColor') => {
      const color = await page.evaluate<string>(`getComputedStyle(document.body).${property}`);
      const channels = (color.match(/\d+/g) ?? []).slice(0, 3).map(Number);
      return channels.reduce((sum, each) => sum + each, 0) / 765;
    };
    expect(await lightness('backgroundColor')).toBeLessThan(0.2);
    expect(await lightness('color')).toBeGreaterThan(0.8);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
  });
});
