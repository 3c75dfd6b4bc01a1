import type { Check } from '../../bgp/checks/check.ts';
import type { CellResult, Verdict } from '../../matrix/types.ts';
import { groupBy } from '../../shared/group.ts';
import { type Cause, cellCauses, countText, reasonCauses } from '../causes.ts';
import { describeEvidence, describeFinding } from '../cell-text.ts';
import { describeCheck, type Spread, spreadsOf, tableName } from '../check-text.ts';
import type { BgpTable, LabRun } from '../run.ts';
import { checkGroups } from '../table.ts';
import { CHECK_SIGNS, describeExpected, describeObserved, KIND_TEXTS, kindOf } from '../words.ts';
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

/** The checks by group; a group in which something did not pass is open, and shows first what did not. */
export function checksSection({ checks }: LabRun): Markup | undefined {
  if (checks.length === 0) return undefined;
  return html`${checkGroups(checks).map(([group, members]) => {
    const bad = members.filter(({ verdict }) => verdict !== 'passed');
    const good = members.filter(({ verdict }) => verdict === 'passed');
    const isGood = bad.length === 0;
    return html`<details class="group"${!isGood && html` open`}>
<summary><span class="sign ${isGood ? 'works' : 'failed'}" aria-hidden="true">${isGood ? CHECK_SIGNS.passed : CHECK_SIGNS.failed}</span> <b>${group}</b> <small>${good.length} of ${members.length} passed</small></summary>
${isGood ? checkTable(good) : checkTable(bad)}
${
  !isGood &&
  good.length > 0 &&
  html`<details class="rest"><summary class="opener">${good.length} that passed</summary>${checkTable(good)}</details>`
}</details>
`;
  })}`;
}

function checkTable(checks: readonly Check[]): Markup {
  return html`<div class="scroll"><table class="list checks">
<thead><tr><th scope="col"><span class="hidden">Verdict</span></th><th scope="col">Check</th><th scope="col">Expected</th><th scope="col">Observed</th><th scope="col">Why</th></tr></thead>
<tbody>
${checks.map((check) => {
  const { id, verdict } = check;
  const { title, expected, observed, why } = describeCheck(check);
  return html`<tr id="check-${id}"><td><span class="sign ${verdict === 'passed' ? 'works' : verdict}" role="img" aria-label="${verdict}">${CHECK_SIGNS[verdict]}</span></td><th scope="row">${title}</th><td>${expected}</td><td>${observed === expected && verdict === 'passed' ? html`<span class="same">the same</span>` : observed}</td><td>${why}</td></tr>
`;
})}</tbody></table></div>`;
}

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

/** What every speaker has in its tables, one row per prefix and one column per table, so that they can be compared. */
export function tablesSection({ bgpTables = [], plan }: LabRun): Markup | undefined {
  if (bgpTables.length === 0) return undefined;
  const router = plan?.machines.find(({ role }) => role === 'router')?.name;
  return html`${[...groupBy(bgpTables, ({ machine }) => machine)].map(([machine, tables]) =>
    machineTables(machine, tables, machine === router),
  )}`;
}

function machineTables(machine: string, tables: readonly BgpTable[], isOpen: boolean): Markup {
  const prefixes = [...new Set(tables.flatMap(({ routes }) => routes.map(({ prefix }) => prefix)))];
  return html`<details class="group"${isOpen && html` open`}>
<summary><b>${machine}</b> <small>${prefixes.length} ${prefixes.length === 1 ? 'prefix' : 'prefixes'}</small></summary>
<div class="scroll"><table class="list">
<thead><tr><th scope="col">Prefix</th>${tables.map(({ table }) => html`<th scope="col">${tableName(table)}: next hops</th>`)}</tr></thead>
<tbody>
${prefixes.map(
  (prefix) => html`<tr><th scope="row"><code>${prefix}</code></th>${tables.map(({ routes }) => {
    const route = routes.find((each) => each.prefix === prefix);
    return html`<td>${
      route === undefined
        ? html`<span class="same">absent</span>`
        : route.nextHops.map((hop) => html`<code class="hop">${hop}</code> `)
    }</td>`;
  })}</tr>
`,
)}</tbody></table></div>
</details>
`;
}

/** How long each step took, as bars against the longest one. */
export function timingsSection({ timings = [] }: LabRun): Markup | undefined {
  if (timings.length === 0) return undefined;
  const longest = Math.max(1, ...timings.map(({ ms }) => ms));
  return html`<table class="histogram timings"><thead class="hidden"><tr><th scope="col">Step</th><th scope="col">Time</th></tr></thead><tbody>
${timings.map(
  ({ step, ms }) =>
    html`<tr><th scope="row">${step}</th><td class="sum"><span class="bar" style="--share:${((ms / longest) * 100).toFixed(1)}%">${timeText(ms)}</span></td></tr>
`,
)}</tbody></table>`;
}

function timeText(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
