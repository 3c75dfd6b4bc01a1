import type { Check } from '../bgp/checks/check.ts';
import type { CellResult, Verdict } from '../matrix/types.ts';
import { type Cause, cellCauses, countText, reasonCauses } from './causes.ts';
import { describeEvidence, describeFinding, describeProof } from './cell-text.ts';
import { describeCheck, spreadsOf } from './check-text.ts';
import { type ColumnGroup, columnKey, groupColumns } from './columns.ts';
import { conclusionOf, type LabRun, summarize } from './run.ts';
import { checkGroups } from './table.ts';
import {
  CHECK_SIGNS,
  describeCells,
  describeControl,
  describeExpected,
  describeObserved,
  KIND_TEXTS,
  kindOf,
  kindsToExplain,
} from './words.ts';

/**
 * The run as GitHub-flavoured Markdown, for a pull request or a job summary: totals, what is wrong by cause, one table
 * per kind of target, checks, load balancing. Text that comes from the lab is escaped.
 */
export function toMarkdown(run: LabRun): string {
  const { right, text } = conclusionOf(run);
  const sections = [
    `# ${right ? '✅' : '❌'} ${md(run.lab)}: ${md(text)}`,
    `${run.startedAt.toISOString().replace('T', ' ').slice(0, 19)} UTC, ${(run.durationMs / 1000).toFixed(1)} s`,
    ...banners(run),
    summaryTable(run),
    ...troubles(run.cells),
    ...checks(run.checks),
    ...matrix(run.cells),
    ...proofs(run.cells),
    ...ecmp(run.checks),
    ...timings(run),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** Escapes what Markdown or HTML would give a meaning, and keeps it on one line. */
export function md(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll(/[\\`*_[\]|~]/g, '\\$&')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}

/** A code span; a backtick in it would end it, and a pipe a table's cell. */
function code(text: string): string {
  return `\`${text.replaceAll('`', "'").replaceAll('|', '\\|').replaceAll(/\s+/g, ' ')}\``;
}

function table(
  head: readonly string[],
  align: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return [head, align, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function details(summary: string, body: string): string {
  return `<details><summary>${summary}</summary>\n\n${body}\n\n</details>`;
}

function banners({ aborted, moved }: LabRun): string[] {
  return [
    ...(aborted === undefined ? [] : [`> [!CAUTION]\n> The run was aborted: ${md(aborted)}`]),
    ...(moved === undefined || moved.length === 0
      ? []
      : [
          `> [!WARNING]\n> The lab changed during the run; expectations follow its state after it.\n${moved.map((change) => `> - ${md(change)}`).join('\n')}`,
        ]),
  ];
}

function summaryTable(run: LabRun): string {
  const { planned, ...verdicts } = summarize(run);
  const passedChecks = run.checks.filter(({ verdict }) => verdict === 'passed').length;
  const entries = Object.entries(verdicts);
  return table(
    ['cells', ...entries.map(([name]) => name), 'checks passed'],
    ['---:', ...entries.map(() => '---:'), '---:'],
    [
      [
        `${planned}${run.chosenFrom === undefined ? '' : ` of ${run.chosenFrom}`}`,
        ...entries.map(([, count]) => `${count}`),
        `${passedChecks} of ${run.checks.length}`,
      ],
    ],
  );
}

function troubles(results: readonly CellResult[]): string[] {
  const told: readonly [Verdict, string][] = [
    ['failed', 'Wrong cells'],
    ['flaky', 'Flaky cells'],
  ];
  const reasons: readonly [Verdict, string][] = [
    ['harness', 'Cells that nothing is known about'],
    ['blocked', 'Blocked cells'],
    ['skipped', 'Skipped cells'],
  ];
  return [
    ...told.flatMap(([verdict, title]) => {
      const causes = cellCauses(results, verdict);
      return causes.length === 0 ? [] : [`## ${title}`, ...causes.map(causeBlock)];
    }),
    ...reasons.flatMap(([verdict, title]) => {
      const causes = reasonCauses(results, verdict);
      return causes.length === 0 ? [] : [`## ${title}`, ...causes.map(reasonBlock)];
    }),
  ];
}

function causeBlock({ first, members }: Cause<CellResult>): string {
  const { cell, observed, evidence } = first;
  const detail = describeFinding(first);
  const { sign } = KIND_TEXTS[kindOf(first)];
  const others = members.length === 1 ? '' : ` and ${countText(members.length - 1, 'more cell')} like it`;
  return [
    `### ${sign} ${code(cell.id)}${others}`,
    [
      `- **expected:** ${md(describeExpected(cell.expected))}`,
      `- **observed:** ${md(describeObserved(observed))}${detail === null ? '' : `: ${md(detail)}`}`,
      ...(evidence === undefined ? [] : [`- **where:** ${md(describeEvidence(evidence))}`]),
      `- **why:** ${md(cell.expected.why)}`,
    ].join('\n'),
    ...(members.length === 1 ? [] : [details(`all ${members.length} cells`, cellList(members))]),
    ...(cell.expected.chain.length === 0 ? [] : [details("the packet's predicted way", chain(first))]),
    ...(evidence === undefined ? [] : [details('what was seen at every hop', hops(evidence))]),
  ].join('\n\n');
}

function reasonBlock({ first, members }: Cause<CellResult>): string {
  const { sign } = KIND_TEXTS[kindOf(first)];
  return [
    `- ${sign} ${countText(members.length, 'cell')}: ${md(describeFinding(first) ?? 'no reason given')}`,
    details('which', cellList(members)),
  ].join('\n\n');
}

function cellList(members: readonly CellResult[]): string {
  return describeCells(members.map(({ cell }) => cell))
    .map((text) => `- ${code(text)}`)
    .join('\n');
}

function chain({ cell }: CellResult): string {
  return cell.expected.chain
    .map(({ at, layer, text }, index) => `${index + 1}. **${md(at)}** (${layer}): ${md(text)}`)
    .join('\n');
}

function hops({ hops: seen, file }: NonNullable<CellResult['evidence']>): string {
  const lines = seen.map(({ at, agrees, text, detail }, index) =>
    [
      `${index + 1}. ${agrees ? KIND_TEXTS.works.sign : KIND_TEXTS.failed.sign} **${md(at)}**: ${md(text)}`,
      ...detail.map((line) => `   - ${code(line)}`),
    ].join('\n'),
  );
  return [...lines, ...(file === undefined ? [] : [`\nAll of it: ${code(file)}`])].join('\n');
}

function checks(all: readonly Check[]): string[] {
  if (all.length === 0) return [];
  const blocks = checkGroups(all).flatMap(([group, members]) => {
    const bad = members.filter(({ verdict }) => verdict !== 'passed');
    const title = `${bad.length === 0 ? CHECK_SIGNS.passed : CHECK_SIGNS.failed} **${md(group)}**: ${members.length - bad.length} of ${members.length}`;
    if (bad.length === 0) return [`- ${title}`];
    const rows = bad.map((check) => {
      const { title: name, expected, observed, why } = describeCheck(check);
      return [CHECK_SIGNS[check.verdict], ...[name, expected, observed, why].map(md)];
    });
    return [
      `- ${title}`,
      table(['', 'check', 'expected', 'observed', 'why'], [':-:', '---', '---', '---', '---'], rows),
    ];
  });
  return ['## Checks', ...blocks];
}

function matrix(results: readonly CellResult[]): string[] {
  if (results.length === 0) return [];
  const byPlace = new Map(results.map((result) => [`${result.cell.from} ${columnKey(result.cell)}`, result]));
  const froms = [...new Set(results.map(({ cell }) => cell.from))];
  const legend = kindsToExplain(results).map((kind) => `${KIND_TEXTS[kind].sign} ${KIND_TEXTS[kind].text}`);
  const tableOf = (group: ColumnGroup) =>
    table(
      ['from', ...group.names.map(md)],
      ['---', ...group.columns.map(() => ':-:')],
      froms.map((from) => [
        md(from),
        ...group.columns.map(({ key }) => {
          const result = byPlace.get(`${from} ${key}`);
          return result === undefined ? '' : KIND_TEXTS[kindOf(result)].sign;
        }),
      ]),
    );
  return [
    '## Matrix',
    `Rows are where connections start. ${legend.join(', ')}.`,
    ...results.flatMap(({ cell: { id, controlOf } }) =>
      controlOf === undefined ? [] : [`- ${code(id)} was ${md(describeControl(controlOf))}`],
    ),
    ...groupColumns(results.map(({ cell }) => cell)).map((group) =>
      details(`<b>${md(`${group.title} ${group.subtitle}`)}</b>: ${tally(group, results)}`, tableOf(group)),
    ),
  ];
}

/** What proves that connections rightly failed: one line per kind of failure, told of its first cell. */
function proofs(results: readonly CellResult[]): string[] {
  const proven = results.filter(({ proof, verdict }) => proof !== undefined && verdict === 'passed');
  if (proven.length === 0) return [];
  const lines = cellCauses(proven, 'passed').map(({ first: { cell, proof = [] }, members }) => {
    const others = members.length === 1 ? '' : ` and ${countText(members.length - 1, 'more cell')} like it`;
    return `- ${KIND_TEXTS['fails-as-expected'].sign} ${code(cell.id)}${others}: ${md(proof.map(describeProof).join('; '))}`;
  });
  return [details(`what proves that ${countText(proven.length, 'cell')} rightly failed`, lines.join('\n'))];
}

/** "31 ✓, 1 ✗": what a folded table would show. */
function tally({ columns }: ColumnGroup, results: readonly CellResult[]): string {
  const keys = new Set(columns.map(({ key }) => key));
  const members = results.filter(({ cell }) => keys.has(columnKey(cell)));
  return kindsToExplain(members)
    .map((kind) => [kind, members.filter((result) => kindOf(result) === kind).length] as const)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${KIND_TEXTS[kind].sign}`)
    .join(', ');
}

function ecmp(checks: readonly Check[]): string[] {
  const results = spreadsOf(checks);
  if (results.length === 0) return [];
  const blocks = results.flatMap(({ from, target, flows, counts, verdict, why }) => [
    `${CHECK_SIGNS[verdict]} **${md(from)} to ${md(target)}**, ${countText(flows, 'flow')}: ${md(why)}`,
    table(
      ['node', 'pod', 'flows', ''],
      ['---', '---', '---:', '---'],
      counts.map(({ node, pod, count }) => [
        md(node),
        md(pod),
        `${count}`,
        '█'.repeat(Math.round((count / Math.max(1, flows)) * 20)),
      ]),
    ),
  ]);
  return ['## Load balancing', ...blocks];
}

function timings({ timings: steps = [] }: LabRun): string[] {
  if (steps.length === 0) return [];
  const rows = steps.map(({ step, ms }) => [md(step), `${Math.round(ms)}`]);
  return ['## Timings', table(['step', 'ms'], ['---', '---:'], rows)];
}
