import pc from 'picocolors';
import type { Check, CheckKind } from '../bgp/checks/check.ts';
import { type CellResult, targetId, type Verdict } from '../matrix/types.ts';
import { groupBy } from '../shared/group.ts';
import { wrap, wrapItems } from '../shared/text.ts';
import { type Cause, cellCauses, checkCauses, countText, reasonCauses } from './causes.ts';
import { describeEvidence, describeFinding } from './cell-text.ts';
import { describeCheck } from './check-text.ts';
import { type ColumnGroup, groupColumns } from './columns.ts';
import { conclusionOf, type LabRun, summarize, summarizeChecks } from './run.ts';
import {
  CHECK_SIGNS,
  describeCells,
  describeControl,
  describeExpected,
  describeObserved,
  KIND_TEXTS,
  type Kind,
  kindOf,
  kindsToExplain,
} from './words.ts';

export interface TableOptions {
  readonly color: boolean;
  /** Columns of the terminal; at least 60, at most 100 are used. */
  readonly width?: number;
  /** Show every check, not only those that did not pass. */
  readonly verbose?: boolean;
}

const MAX_WIDTH = 100;
const MIN_WIDTH = 60;

type Paint = ReturnType<typeof pc.createColors>;

/** The run for people: the matrix, what is wrong with it, the checks and the totals. No line is longer than the width. */
export function renderTable(run: LabRun, options: TableOptions): string {
  const width = Math.max(MIN_WIDTH, Math.min(options.width ?? MAX_WIDTH, MAX_WIDTH));
  const paint = pc.createColors(options.color);
  const sections = [
    ...matrixBlocks(run.cells, width, (result) => symbolOf(result, paint)),
    legend(run, width),
    controls(run, width),
    ...notableCells(run.cells, width, paint),
    checkLines(run.checks, { width, paint, verbose: options.verbose === true }),
    totals(run, width, paint),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function symbolOf(result: CellResult | undefined, paint: Paint): string {
  if (result === undefined) return ' ';
  const kind = kindOf(result);
  return painters(paint)[kind](KIND_TEXTS[kind].sign);
}

function painters(paint: Paint): Readonly<Record<Kind, (text: string) => string>> {
  return {
    works: paint.green,
    'fails-as-expected': paint.dim,
    failed: (text) => paint.bold(paint.red(text)),
    flaky: paint.yellow,
    harness: (text) => paint.bold(paint.magenta(text)),
    blocked: paint.yellow,
    skipped: paint.dim,
  };
}

function legend(run: LabRun, width: number): string[] {
  if (run.cells.length === 0) return ['Nothing was planned, so nothing is known.'];
  const signs = kindsToExplain(run.cells).map((kind) => `${KIND_TEXTS[kind].sign} ${KIND_TEXTS[kind].text}`);
  const groups = groupColumns(run.cells.map(({ cell }) => cell));
  const explained = new Map<string, string[]>();
  for (const { title, subtitle, columns, names } of groups) {
    const text = columns.map(({ mark }, index) => `${mark} ${names[index]}`).join(', ');
    explained.set(`${title}\n${text}`, [...(explained.get(`${title}\n${text}`) ?? []), subtitle]);
  }
  const columns = [...explained].flatMap(([key, subtitles]) => {
    const [title = '', text = ''] = key.split('\n');
    return wrapItems([`${title} ${subtitles.join(' and ')}:`, ...text.split(', ')], '  ', width, '    ');
  });
  return [...wrapItems(signs, '   ', width, ''), ...columns];
}

function controls({ cells }: LabRun, width: number): string[] {
  return cells.flatMap(({ cell: { id, controlOf } }) =>
    controlOf === undefined ? [] : wrap(`${id}: ${describeControl(controlOf)}`, width, '    '),
  );
}

function totals(run: LabRun, width: number, paint: Paint): string[] {
  const { planned, ...cells } = summarize(run);
  const checks = summarizeChecks(run);
  const listed = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .filter(([name, count]) => name === 'passed' || count > 0)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ');
  const { right, text } = conclusionOf(run);
  const conclusion = `${run.lab}: ${text} (${(run.durationMs / 1000).toFixed(1)} s)`;
  const notes = [
    ...(run.aborted === undefined ? [] : wrap(`aborted: ${run.aborted}`, width, '  ').map(paint.red)),
    ...(run.moved ?? []).flatMap((change) =>
      wrap(`changed during the run: ${change}`, width, '  ').map(paint.yellow),
    ),
  ];
  const chosen = run.chosenFrom === undefined ? '' : ` of ${run.chosenFrom}`;
  return [
    ...wrap(`cells:  ${planned}${chosen} planned: ${listed(cells)}`, width, '        '),
    ...wrap(`checks: ${run.checks.length} planned: ${listed(checks)}`, width, '        '),
    ...notes,
    ...wrap(conclusion, width, '').map((line) => (right ? paint.green(line) : paint.red(line))),
  ];
}

/** Groups of one kind under one title. */
interface Section {
  readonly title: string;
  readonly groups: readonly ColumnGroup[];
}

const SECTION_GAP = '  ';
const GROUP_GAP = ' ';

/**
 * The matrix as lines: rows are sources, columns targets, one character each. More than one block where the
 * sections do not all fit side by side. `sign` must give one visible character.
 */
export function matrixBlocks(
  results: readonly CellResult[],
  width: number,
  sign: (result: CellResult | undefined) => string,
): readonly string[][] {
  const froms = [...new Set(results.map(({ cell }) => cell.from))];
  const labelWidth = Math.max(0, ...froms.map((from) => from.length));
  const byPlace = new Map(results.map((result) => [`${result.cell.from} ${targetId(result.cell)}`, result]));
  const sections = sectionsOf(groupColumns(results.map(({ cell }) => cell)), width - labelWidth);
  return blocksOf(sections, width - labelWidth).map((block) => {
    const heading = (text: (group: ColumnGroup) => string) =>
      block.map((section) =>
        section.groups
          .map((group) => text(group).padEnd(groupWidth(group)))
          .join(GROUP_GAP)
          .padEnd(sectionWidth(section)),
      );
    const row = (from: string) =>
      block.map((section) => {
        const groups = section.groups.map((group) => {
          const signs = group.columns.map(({ key }) => sign(byPlace.get(`${from} ${key}`)));
          return signs.join('') + ' '.repeat(groupWidth(group) - signs.length);
        });
        return groups.join(GROUP_GAP) + ' '.repeat(sectionWidth(section) - groupsWidth(section.groups));
      });
    const line = (label: string, parts: readonly string[]) =>
      [label.padEnd(labelWidth), ...parts].join(SECTION_GAP).trimEnd();
    const titles = block.map((section) => section.title.padEnd(sectionWidth(section)));
    const labels = heading(({ label }) => label);
    const marks = heading(({ columns }) => columns.map(({ mark }) => mark).join(''));
    return [
      ...[titles, labels, marks].map((parts) => line('', parts)),
      ...froms.map((from) => line(from, row(from))),
    ];
  });
}

/** Neighbours of the same title together, unless that is wider than a line. */
function sectionsOf(groups: readonly ColumnGroup[], width: number): readonly Section[] {
  const titles = [...new Set(groups.map(({ title }) => title))];
  return titles.flatMap((title): Section[] => {
    const members = groups.filter((group) => group.title === title);
    const whole = { title, groups: members };
    return SECTION_GAP.length + sectionWidth(whole) <= width
      ? [whole]
      : members.map((group) => ({ title, groups: [group] }));
  });
}

/** As many sections side by side as fit. */
function blocksOf(sections: readonly Section[], width: number): readonly Section[][] {
  const blocks: Section[][] = [];
  let used = Number.POSITIVE_INFINITY;
  for (const section of sections) {
    const needed = SECTION_GAP.length + sectionWidth(section);
    if (used + needed > width) {
      blocks.push([]);
      used = 0;
    }
    blocks.at(-1)?.push(section);
    used += needed;
  }
  return blocks;
}

function groupWidth({ label, columns }: ColumnGroup): number {
  return Math.max(label.length, columns.length);
}

function groupsWidth(groups: readonly ColumnGroup[]): number {
  return groups.reduce((sum, group) => sum + groupWidth(group), GROUP_GAP.length * (groups.length - 1));
}

function sectionWidth({ title, groups }: Section): number {
  return Math.max(title.length, groupsWidth(groups));
}

/** More lines of ids than this help nobody in a terminal; the other reports have them all. */
const MAX_ID_LINES = 5;

/** The cells that did not simply pass, one block per verdict and in it one entry per cause. */
function notableCells(results: readonly CellResult[], width: number, paint: Paint): readonly string[][] {
  const sections: readonly [Verdict, string, (cause: Cause<CellResult>, width: number) => string[]][] = [
    ['failed', paint.bold(paint.red('Wrong cells')), storyLines],
    ['flaky', paint.yellow('Flaky cells'), storyLines],
    ['harness', paint.bold(paint.magenta('Cells that nothing is known about')), reasonLine],
    ['blocked', paint.yellow('Blocked cells'), reasonLine],
    ['skipped', 'Skipped cells', reasonLine],
  ];
  return sections.flatMap(([verdict, title, lines]) => {
    const causes = lines === storyLines ? cellCauses(results, verdict) : reasonCauses(results, verdict);
    return causes.length === 0 ? [] : [[title, ...causes.flatMap((cause) => lines(cause, width))]];
  });
}

/** What was expected and seen, told once; where addresses differ from cell to cell, those of the first one. */
function storyLines({ first, members }: Cause<CellResult>, width: number): string[] {
  const { cell, observed, evidence } = first;
  const detail = describeFinding(first);
  const { sign } = KIND_TEXTS[kindOf(first)];
  const line = (label: string, text: string) => wrap(`${label}: ${text}`, width, '      ', '    ');
  const what = members.length === 1 ? '' : `${countText(members.length, 'cell')}, e.g. `;
  return [
    ...wrap(`${sign} ${what}${cell.id}`, width, '      ', '  '),
    ...line('expected', describeExpected(cell.expected)),
    ...line('observed', `${describeObserved(observed)}${detail === null ? '' : `: ${detail}`}`),
    ...(evidence === undefined ? [] : line('where', describeEvidence(evidence))),
    ...line('why', cell.expected.why),
    ...(members.length === 1 ? [] : idLines(members, width)),
  ];
}

function idLines(members: readonly CellResult[], width: number): string[] {
  const [head = '', ...rest] = describeCells(members.map(({ cell }) => cell));
  const lines = [`all: ${head}`, ...rest].flatMap((text) => wrap(text, width, '      ', '    '));
  if (lines.length <= MAX_ID_LINES) return lines;
  return [...lines.slice(0, MAX_ID_LINES - 1), '      ... (the rest with --json or --html)'];
}

/** One line per cause: a source that broke is one cause, not thirty. */
function reasonLine({ first, members }: Cause<CellResult>, width: number): string[] {
  const { sign } = KIND_TEXTS[kindOf(first)];
  const froms = [...new Set(members.map(({ cell }) => cell.from))];
  const what = members.length === 1 ? first.cell.id : `${members.length} cells from ${listed(froms)}`;
  return wrap(`${sign} ${what}: ${describeFinding(first) ?? 'no reason given'}`, width, '      ', '  ');
}

function listed(froms: readonly string[]): string {
  return froms.length <= 6
    ? froms.join(', ')
    : `${froms.slice(0, 4).join(', ')} and ${froms.length - 4} more`;
}

interface CheckLineOptions {
  readonly width: number;
  readonly paint: Paint;
  /** Show every check, not only those that did not pass. */
  readonly verbose: boolean;
}

/** Fewer checks than this are told one by one, even if they have a cause in common. */
const MANY = 3;
/** More lines of titles than this help nobody in a terminal. */
const MAX_TITLE_LINES = 4;

/** The checks for people: one line per group, and under it what did not pass, one entry per cause. */
export function checkLines(checks: readonly Check[], options: CheckLineOptions): string[] {
  return checkGroups(checks).flatMap(([group, members]) => {
    const passed = members.filter(({ verdict }) => verdict === 'passed').length;
    const line = `${passed === members.length ? CHECK_SIGNS.passed : CHECK_SIGNS.failed} ${group}: ${passed} of ${members.length}`;
    return [
      passed === members.length ? options.paint.green(line) : options.paint.red(line),
      ...checkCauses(members).flatMap((cause) => causeLines(cause, options)),
    ];
  });
}

/** The checks by group, in the order in which they come. */
export function checkGroups(checks: readonly Check[]): readonly (readonly [string, readonly Check[]])[] {
  return [...groupBy(checks, ({ kind }) => GROUPS[kind])];
}

function causeLines({ first, members }: Cause<Check>, options: CheckLineOptions): string[] {
  const { width } = options;
  const sign = CHECK_SIGNS[first.verdict];
  if (first.verdict === 'blocked' || first.verdict === 'skipped') {
    const { title, observed } = describeCheck(first);
    const what = members.length === 1 ? title : countText(members.length, 'check');
    return wrap(`${sign} ${what}: ${observed}`, width, '      ', '  ');
  }
  if (members.length < MANY) return members.flatMap((check) => detailLines(check, options));
  const titles = members.map((check) => describeCheck(check).title);
  const [head = '', ...rest] = titles.map((title, index) =>
    index < members.length - 1 ? `${title};` : title,
  );
  const lines = wrapItems([`    all: ${head}`, ...rest], ' ', width, '      ');
  return [
    ...wrap(`${sign} ${countText(members.length, 'check')}, e.g. ${titles[0]}`, width, '      ', '  '),
    ...checkStory(first, width),
    ...lines.slice(0, MAX_TITLE_LINES),
    ...(lines.length > MAX_TITLE_LINES ? ['      ... (the rest with --json or --html)'] : []),
  ];
}

function detailLines(check: Check, { width, verbose }: CheckLineOptions): string[] {
  const text = describeCheck(check);
  const title = `${CHECK_SIGNS[check.verdict]} ${text.title}`;
  if (check.verdict === 'passed')
    return verbose ? wrap(`${title}: ${text.observed}`, width, '      ', '  ') : [];
  return [
    ...wrap(check.verdict === 'harness' ? `${title} (not known)` : title, width, '      ', '  '),
    ...checkStory(check, width),
  ];
}

function checkStory(check: Check, width: number): string[] {
  const { expected, observed, why } = describeCheck(check);
  return [
    ...wrap(`expected: ${expected}`, width, '      ', '    '),
    ...wrap(`observed: ${observed}`, width, '      ', '    '),
    ...wrap(`why: ${why}`, width, '      ', '    '),
  ];
}

const GROUPS: Readonly<Record<CheckKind, string>> = {
  session: 'BGP sessions',
  route: 'routes',
  'unplanned-routes': 'routes',
  state: 'state',
  'proxy-mode': 'state',
  'client-pod': 'workloads',
  servers: 'workloads',
  services: 'workloads',
  masquerading: 'pod network',
  'pod-gateway': 'pod network',
  policies: 'pod network',
  'service-rules': 'rules',
  'udp-flows': 'conntrack',
  'full-size': 'full-size packets',
  dns: 'DNS',
  'hash-policy': 'ECMP',
  spread: 'ECMP',
  affinity: 'affinity',
  run: 'labtest',
};
