import type { Given } from '../arguments.ts';
import { usage } from '../failures.ts';
import { isModern, type Knobs } from '../knobs.ts';
import { renderJson } from './json.ts';

export type Format = 'table' | 'json' | 'csv' | 'yaml';

/** The option --format. Ends the command where there is no such format. */
export function formatOf(given: Given): Format {
  const format = given.value('format') ?? 'table';
  if (format === 'table' || format === 'json' || format === 'csv' || format === 'yaml') return format;
  throw usage('Invalid format type given.');
}

/** One answer in each of the formats; only the one that is asked for is made. */
export interface Answer {
  table(): string;
  json(): unknown;
  csv(): readonly (readonly string[])[];
  yaml(): unknown;
}

/** An answer as it is printed. */
export async function render(answer: Answer, format: Format, knobs: Knobs): Promise<string> {
  if (format === 'json') return renderJson(answer.json(), !isModern(knobs));
  if (format === 'yaml') {
    const { stringify } = await import('yaml');
    return stringify(answer.yaml(), { nullStr: '~', lineWidth: 0 });
  }
  if (format === 'csv')
    return answer
      .csv()
      .map((row) => `${row.join(',')}\n`)
      .join('');
  return answer.table();
}

/** Rows with every column but the last padded to its width: the longest cell and two blanks, or `minimum`. */
export function columns(rows: readonly (readonly string[])[], minimum: readonly number[] = []): string {
  const width = (column: number) =>
    Math.max(minimum[column] ?? 0, ...rows.map((row) => (row[column] ?? '').length + 2));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(width(column)))).join('');
  return rows.map((row) => `${line(row)}\n`).join('');
}

/** "Label:          value", as info's table has it. */
export function labelled(label: string, value: string): string {
  return `${label.padEnd(16)}${value}\n`;
}
