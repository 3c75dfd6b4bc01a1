import type { CellResult, Verdict } from '../../matrix/types.ts';
import { type Cause, cellCauses, countText, reasonCauses } from '../causes.ts';
import { describeEvidence, describeFinding } from '../cell-text.ts';
import { KIND_TEXTS, kindOf } from '../kinds.ts';
import type { LabRun } from '../run.ts';
import { describeExpected, describeObserved } from '../words.ts';
import { html, type Markup } from './markup.ts';

const STORIES: readonly Verdict[] = ['failed', 'flaky'];
const REASONS: readonly Verdict[] = ['harness', 'blocked', 'skipped'];

/** What did not simply pass, one card per cause. The page's script adds each cell in full. */
export function troubleSection({ cells, checks }: LabRun): Markup | undefined {
  const cards = [
    ...STORIES.flatMap((verdict) => cellCauses(cells, verdict).map(storyCard)),
    ...REASONS.flatMap((verdict) => reasonCauses(cells, verdict).map(reasonCard)),
  ];
  const badChecks = checks.filter(({ verdict }) => verdict !== 'passed').length;
  if (cards.length === 0 && badChecks === 0) return undefined;
  return html`${badChecks > 0 && html`<p>${countText(badChecks, 'check')} did not pass: <a href="#checks">see the checks</a>.</p>`}
${cards}`;
}

function storyCard(cause: Cause<CellResult>): Markup {
  const { first, members } = cause;
  const { cell, observed, evidence } = first;
  const detail = describeFinding(first);
  const kind = kindOf(first);
  return html`<article class="cause ${kind}">
<h3><span class="sign ${kind}" aria-hidden="true">${KIND_TEXTS[kind].sign}</span> ${
    members.length === 1 ? cellLink(cell.id) : html`${members.length} cells ${KIND_TEXTS[kind].text}`
  }</h3>
${evidence !== undefined && html`<p class="sentence">${describeEvidence(evidence)}</p>`}
<dl class="story">
${members.length > 1 && html`<dt>e.g.</dt><dd><code>${cell.id}</code></dd>`}
<dt>expected</dt><dd>${describeExpected(cell.expected)}</dd>
<dt>observed</dt><dd>${describeObserved(observed)}${detail !== null && `: ${detail}`}</dd>
<dt>why</dt><dd>${cell.expected.why}</dd>
</dl>
${members.length > 1 && cellLinks(members)}
<div class="in-full" data-cells="${JSON.stringify(members.map(({ cell: { id } }) => id))}"></div>
</article>
`;
}

function reasonCard({ first, members }: Cause<CellResult>): Markup {
  const kind = kindOf(first);
  return html`<article class="cause ${kind}">
<h3><span class="sign ${kind}" aria-hidden="true">${KIND_TEXTS[kind].sign}</span> ${countText(members.length, 'cell')} ${KIND_TEXTS[kind].text}</h3>
<p>${describeFinding(first) ?? 'No reason given.'}</p>
${cellLinks(members)}
</article>
`;
}

function cellLinks(members: readonly CellResult[]): Markup {
  const links = html`<ul class="cells">${members.map(({ cell }) => html`<li>${cellLink(cell.id)}</li>`)}</ul>`;
  return members.length <= 12
    ? links
    : html`<details class="list"><summary class="opener">${members.length} cells</summary>${links}</details>`;
}

function cellLink(id: string): Markup {
  return html`<a href="#cell-${encodeURIComponent(id)}"><code>${id}</code></a>`;
}
