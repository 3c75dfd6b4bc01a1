import { KIND_TEXTS, KINDS, kindOf } from '../kinds.ts';
import type { LabRun } from '../run.ts';
import { conclusionOf, summarizeChecks } from '../summary.ts';
import { html, type Markup } from './markup.ts';

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
