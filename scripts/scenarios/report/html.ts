import { html, type Markup, raw } from '../../report/html/markup.ts';
import { readAsset } from '../../shared/files.ts';
import type { ScenarioResult, StepResult } from '../run.ts';
import type { Written } from './files.ts';
import { SIGNS } from './text.ts';

/** The run as one HTML page that needs nothing else: the write-up, as it happened. No script, nothing is fetched. */
export function scenarioHtml({ lab, startedAt, durationMs, scenarios }: Written): string {
  const right = scenarios.filter(({ verdict }) => verdict === 'passed').length;
  const when = startedAt.toISOString().slice(0, 16).replace('T', ' ');
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${right === scenarios.length ? '✓' : '✗'} ${lab}: ${right} of ${scenarios.length} scenarios</title>
<style>${raw(readAsset('scripts/scenarios/report/scenario.css'))}</style>
</head>
<body>
<main>
<header><h1>Scenarios on lab ${lab}</h1>
<p>${when} UTC, ${Math.round(durationMs / 1000)} s: ${right} of ${scenarios.length} as they must be</p>
<nav aria-label="Scenarios"><ol>${scenarios.map(
    ({ name, title, verdict }) => html`<li><a href="#${name}">${mark(verdict)} ${title}</a></li>`,
  )}</ol></nav></header>
${scenarios.map(section)}</main>
</body>
</html>
`;
  return page.text;
}

function mark(verdict: ScenarioResult['verdict'] | StepResult['verdict']): Markup {
  return html`<span class="mark ${verdict.replace(' ', '-')}" role="img" aria-label="${verdict}">${SIGNS[verdict]}</span>`;
}

function section({ name, title, lesson, verdict, reason, next, steps, ms }: ScenarioResult): Markup {
  return html`<section id="${name}" aria-labelledby="${name}-title">
<h2 id="${name}-title">${mark(verdict)} ${title}</h2>
<p class="lesson">${lesson}</p>
${verdict === 'skipped' ? html`<p class="skipped">Skipped: ${reason}. Next: <code>${next}</code></p>` : html`<p class="time">${name}, ${Math.round(ms / 1000)} s</p>`}
<ol class="steps">${steps.map(stepItem)}</ol>
</section>
`;
}

function stepItem({ id, why, command, output, findings, verdict, ms }: StepResult): Markup {
  return html`<li id="${id}"><p class="why">${why}</p>
<div class="terminal"><pre class="command">${command}</pre>${output.length > 0 && html`<pre class="output">${output.join('\n')}</pre>`}</div>
<ul class="findings">${findings.map(({ right, wanted, seen }) =>
    right
      ? html`<li>${mark('passed')} ${wanted}: <b>${seen}</b></li>`
      : html`<li class="wrong">${mark(verdict)} wanted: ${wanted}<br>seen: <b>${seen}</b></li>`,
  )}${findings.length === 0 && html`<li>${mark(verdict)} ${verdict}</li>`}</ul>
<p class="time">${id}, ${(ms / 1000).toFixed(1)} s</p></li>
`;
}
