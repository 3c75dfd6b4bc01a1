import { type CellResult, targetId } from '../../matrix/types.ts';
import { type ColumnGroup, groupColumns } from '../columns.ts';
import type { LabRun } from '../run.ts';
import { describeControl, KIND_TEXTS, kindOf, kindsToExplain } from '../words.ts';
import { html, type Markup, type Part } from './markup.ts';

/**
 * The matrix as a grid for the keyboard (https://www.w3.org/WAI/ARIA/apg/patterns/grid/): one cell can be reached with
 * Tab, the others with the arrow keys. Rows are sources, columns targets.
 */
export function matrixSection(run: LabRun): Markup | undefined {
  if (run.cells.length === 0) return undefined;
  const groups = groupColumns(run.cells.map(({ cell }) => cell));
  const froms = [...new Set(run.cells.map(({ cell }) => cell.from))];
  const byPlace = new Map(
    run.cells.map((result) => [`${result.cell.from} ${targetId(result.cell)}`, result]),
  );
  let isFirst = true;
  const cellOf = (result: CellResult | undefined, starts: boolean): Markup => {
    const start = starts && ' start';
    if (result === undefined) return html`<td class="none${start}"></td>`;
    const tabindex = isFirst ? 0 : -1;
    isFirst = false;
    return gridCell(result, tabindex, start);
  };
  return html`<p class="hint">Rows are where connections start, columns where they go. Click a cell, or use the arrow keys and Enter, to see the packet's path; Escape closes it.</p>
<ul class="legend">${kindsToExplain(run.cells).map(
    (kind) =>
      html`<li><span class="sign ${kind}" aria-hidden="true">${KIND_TEXTS[kind].sign}</span> ${KIND_TEXTS[kind].text}</li>`,
  )}</ul>
<div class="scroll matrix-scroll">
<table class="matrix" role="grid" aria-labelledby="matrix-title" aria-readonly="true">
<thead>
<tr><td class="corner" rowspan="3"></td>${titles(groups).map(
    ({ title, span }) => html`<th class="title start" scope="colgroup" colspan="${span}">${title}</th>`,
  )}</tr>
<tr>${groups.map(
    ({ subtitle, columns }) =>
      html`<th class="subtitle start" scope="colgroup" colspan="${columns.length}"><span>${subtitle}</span></th>`,
  )}</tr>
<tr>${groups.map((group) =>
    group.names.map(
      (name, index) =>
        html`<th class="name${index === 0 && ' start'}" scope="col"${roomFor(group, groups)}><span>${name}</span></th>`,
    ),
  )}</tr>
</thead>
<tbody>
${froms.map(
  (from) => html`<tr><th scope="row">${from}${roleOf(run, from)}</th>${groups.map(({ columns }) =>
    columns.map(({ key }, index) => cellOf(byPlace.get(`${from} ${key}`), index === 0)),
  )}</tr>
`,
)}</tbody>
</table>
</div>
${controls(run)}`;
}

/** In em: how wide a column is, a character of the headings above it, and what is free beyond the last one (styles/matrix.css). */
const WIDTHS = { column: 1.9, title: 0.73, subtitle: 0.62, free: 2.6 };

/** A few columns under long headings are made wider, or the headings would run into each other. */
function roomFor(group: ColumnGroup, groups: readonly ColumnGroup[]): Markup | undefined {
  const { title, subtitle, columns } = group;
  const under = groups.filter((each) => each.title === title).flatMap((each) => each.columns);
  const free = group === groups.at(-1) ? WIDTHS.free : 0;
  const width = Math.max(
    (title.length * WIDTHS.title - free) / under.length,
    (subtitle.length * WIDTHS.subtitle - free) / columns.length,
  );
  return width <= WIDTHS.column ? undefined : html` style="min-width: ${width.toFixed(2)}em"`;
}

/** The cells that nobody asked for. */
function controls({ cells }: LabRun): Markup | undefined {
  const added = cells.flatMap(({ cell: { id, controlOf } }) =>
    controlOf === undefined
      ? []
      : [
          html`<li><a href="#cell-${encodeURIComponent(id)}"><code>${id}</code></a> ${describeControl(controlOf)}</li>`,
        ],
  );
  return added.length === 0 ? undefined : html`<ul class="controls">${added}</ul>`;
}

function gridCell(result: CellResult, tabindex: number, start: Part): Markup {
  const kind = kindOf(result);
  const { id, from, to, port, protocol } = result.cell;
  return html`<td id="cell-${id}" class="${kind}${start}" tabindex="${tabindex}" aria-label="${`${from} to ${to}, ${port}/${protocol}: ${KIND_TEXTS[kind].text}`}">${KIND_TEXTS[kind].sign}</td>`;
}

function titles(
  groups: readonly ColumnGroup[],
): readonly { readonly title: string; readonly span: number }[] {
  const spans = new Map<string, number>();
  for (const { title, columns } of groups) spans.set(title, (spans.get(title) ?? 0) + columns.length);
  return [...spans].map(([title, span]) => ({ title, span }));
}

function roleOf({ plan }: LabRun, from: string): Markup | undefined {
  const role = plan?.machines.find(({ name }) => name === from)?.role;
  return role === undefined ? undefined : html` <small>${role}</small>`;
}
