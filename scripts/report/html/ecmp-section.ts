import { countText } from '../causes.ts';
import { type Spread, spreadsOf } from '../check-text.ts';
import { CHECK_SIGNS } from '../kinds.ts';
import type { LabRun } from '../run.ts';
import { html, type Markup } from './markup.ts';

/** For each target the flows by node and pod. A bar's length is its share of the largest count beside it. */
export function ecmpSection({ checks }: LabRun): Markup | undefined {
  const spreads = spreadsOf(checks);
  return spreads.length === 0 ? undefined : html`${spreads.map(histogram)}`;
}

function histogram({ from, target, flows, counts, verdict, why }: Spread): Markup {
  const kind = verdict === 'passed' ? 'works' : verdict;
  const nodes = [...new Set(counts.map(({ node }) => node))];
  const pods = [...new Set(counts.map(({ pod }) => pod))];
  const sum = (wanted: (each: Spread['counts'][number]) => boolean) =>
    counts.filter(wanted).reduce((total, { count }) => total + count, 0);
  const largest = Math.max(1, ...counts.map(({ count }) => count));
  const largestNode = Math.max(1, ...nodes.map((name) => sum(({ node }) => node === name)));
  return html`<article class="ecmp">
<h3><span class="sign ${kind}" role="img" aria-label="${verdict}">${CHECK_SIGNS[verdict]}</span> ${from} → <code>${target}</code> <small>${countText(flows, 'flow')}</small></h3>
<p>${why}</p>
${
  counts.length > 0 &&
  html`<div class="scroll"><table class="histogram${pods.length > 6 && ' many'}">
<thead><tr><th scope="col">node \\ pod</th><th scope="col" class="sum">all pods</th>${pods.map((pod) => html`<th scope="col">${pod}</th>`)}</tr></thead>
<tbody>
${nodes.map((name) => {
  const total = sum(({ node }) => node === name);
  return html`<tr><th scope="row">${name}</th><td class="sum">${bar(total, largestNode, flows)}</td>${pods.map(
    (pod) => {
      const count = sum((each) => each.node === name && each.pod === pod);
      return html`<td${count === 0 && html` class="zero"`}>${bar(count, largest)}</td>`;
    },
  )}</tr>
`;
})}</tbody></table></div>`
}
</article>
`;
}

/** `whole`: also tell the share of all. */
function bar(count: number, largest: number, whole?: number): Markup {
  const width = ((count / largest) * 100).toFixed(1);
  const share = whole === undefined || whole === 0 ? '' : ` (${Math.round((count / whole) * 100)} %)`;
  return html`<span class="bar" style="--share:${width}%">${count}${share}</span>`;
}
