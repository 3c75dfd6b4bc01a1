import { createHash } from 'node:crypto';
import { readAsset } from '../../shared/assets.ts';
import type { LabRun } from '../run.ts';
import { conclusionOf } from '../summary.ts';
import { checksSection } from './checks-section.ts';
import { pageData } from './data.ts';
import { ecmpSection } from './ecmp-section.ts';
import { header } from './header.ts';
import { html, jsonScript, type Markup, raw } from './markup.ts';
import { matrixSection } from './matrix-section.ts';
import { tablesSection } from './tables-section.ts';
import { timingsSection } from './timings-section.ts';
import { topologySection } from './topology-section.ts';
import { troubleSection } from './trouble-section.ts';

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
