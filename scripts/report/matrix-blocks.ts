import type { CellResult } from '../matrix/types.ts';
import { type ColumnGroup, columnKey, groupColumns } from './columns.ts';

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
  const byPlace = new Map(results.map((result) => [`${result.cell.from} ${columnKey(result.cell)}`, result]));
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
    return [
      line(
        '',
        block.map((section) => section.title.padEnd(sectionWidth(section))),
      ),
      line(
        '',
        heading(({ label }) => label),
      ),
      line(
        '',
        heading(({ columns }) => columns.map(({ mark }) => mark).join('')),
      ),
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
  let used = 0;
  for (const section of sections) {
    const needed = SECTION_GAP.length + sectionWidth(section);
    const block = blocks.at(-1);
    if (block === undefined || used + needed > width) {
      blocks.push([section]);
      used = needed;
    } else {
      block.push(section);
      used += needed;
    }
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
