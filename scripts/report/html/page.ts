import { createHash } from 'node:crypto';
import { readAsset } from '../../shared/files.ts';
import { conclusionOf, type LabRun, summarizeChecks } from '../run.ts';
import { KIND_TEXTS, KINDS, kindOf } from '../words.ts';
import { pageData } from './data.ts';
import { html, jsonScript, type Markup, raw } from './markup.ts';
import { matrixSection } from './matrix-section.ts';
import { checksSection, ecmpSection, tablesSection, timingsSection, troubleSection } from './sections.ts';
import { topologySection } from './topology.ts';

/**
 * The run as one HTML file that needs nothing else: no network, no fonts, no other files. Its content security policy
 * lets nothing be fetched, and only this one script run. Without the script everything is there but the details of
 * each cell.
 */
export function toHtml(run: LabRun): string {
  const script = assets(SCRIPTS);
  const hash = createHash('sha256').update(script).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const { right, text } = conclusionOf(run);
  const sections = SECTIONS.flatMap(({ id, title, render }) => {
    const content = render(run);
    return content === undefined ? [] : [{ id, title, content }];
  });
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${raw(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${right ? '✓' : '✗'} ${run.lab}: ${text}</title>
<style>${raw(assets(STYLES))}</style>
</head>
<body>
<a class="skip" href="#matrix">Skip to the matrix</a>
<main>
${header(
  run,
  sections.map(({ id, title }) => ({ id, title })),
)}
${sections.map(
  ({ id, title, content }) =>
    html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>
${content}</section>
`,
)}</main>
<aside id="panel" role="dialog" aria-labelledby="panel-title" tabindex="-1" hidden></aside>
${jsonScript('report-data', pageData(run))}
<script>${raw(script)}</script>
</body>
</html>
`;
  return page.text;
}

/** In the order in which they must stand: later rules win. */
const STYLES = [
  'base',
  'header',
  'signs',
  'causes',
  'topology',
  'matrix',
  'lists',
  'histograms',
  'panel',
  'windows',
  'print',
].map((name) => `styles/${name}.css`);
const SCRIPTS = ['cell-details.js', 'print.js', 'page.js'];

function assets(names: readonly string[]): string {
  return names.map((name) => readAsset('scripts/report/html/assets', name)).join('\n');
}

interface Section {
  readonly id: string;
  readonly title: string;
  /** undefined where the run has nothing to show. */
  readonly render: (run: LabRun) => Markup | undefined;
}

const SECTIONS: readonly Section[] = [
  { id: 'trouble', title: 'What is not right', render: troubleSection },
  { id: 'topology', title: 'The lab', render: topologySection },
  { id: 'matrix', title: 'Who reaches what', render: matrixSection },
  { id: 'checks', title: 'Checks', render: checksSection },
  { id: 'ecmp', title: 'Load balancing', render: ecmpSection },
  { id: 'tables', title: 'BGP and kernel tables', render: tablesSection },
  { id: 'timings', title: 'Timings', render: timingsSection },
];

/** The verdict, what changed or ended the run, the totals and the way to each section. */
export function header(
  run: LabRun,
  sections: readonly { readonly id: string; readonly title: string }[],
): Markup {
  const { right, text } = conclusionOf(run);
  const when = `${run.startedAt.toISOString().replace('T', ' ').slice(0, 19)} UTC`;
  return html`<header>
<p class="eyebrow"><b>${run.lab}</b> · ${when} · ${(run.durationMs / 1000).toFixed(1)} s</p>
<h1 class="${right ? 'right' : 'wrong'}"><span aria-hidden="true">${right ? '✓' : '✗'}</span> ${capital(text)}</h1>
${banners(run)}
${totals(run)}
<nav aria-label="Sections">${sections.map(({ id, title }) => html`<a href="#${id}">${title}</a>`)}</nav>
</header>`;
}

function banners({ aborted, moved = [] }: LabRun): Markup {
  return html`${
    aborted !== undefined &&
    html`<div class="banner aborted" role="alert"><b>✗ The run was aborted.</b> ${aborted} What it did not get to is shown as skipped.</div>`
  }${
    moved.length > 0 &&
    html`<div class="banner moved"><b>! The lab changed during the run.</b> Expectations follow its state after it.<ul>${moved.map((change) => html`<li>${change}</li>`)}</ul></div>`
  }`;
}

function totals(run: LabRun): Markup {
  const checks = summarizeChecks(run);
  const counts = KINDS.map((kind) => ({
    kind,
    count: run.cells.filter((result) => kindOf(result) === kind).length,
  }));
  return html`<dl class="totals">
<div class="total"><dt>cells</dt><dd>${run.cells.length}${run.chosenFrom !== undefined && html`<small> of ${run.chosenFrom}</small>`}</dd></div>
${counts
  .filter(({ kind, count }) => count > 0 || kind === 'failed')
  .map(
    ({ kind, count }) =>
      html`<div class="total ${count > 0 && kind}"><dt><span class="sign ${kind}" aria-hidden="true">${KIND_TEXTS[kind].sign}</span>${KIND_TEXTS[kind].text}</dt><dd>${count}</dd></div>
`,
  )}
<div class="total ${checks.failed > 0 && 'failed'}"><dt>checks passed</dt><dd>${checks.passed}<small> of ${run.checks.length}</small></dd></div>
</dl>`;
}

function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
