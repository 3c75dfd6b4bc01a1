import { groupBy } from '../causes.ts';
import { tableName } from '../check-text.ts';
import type { BgpTable, LabRun } from '../run.ts';
import { html, type Markup } from './markup.ts';

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
