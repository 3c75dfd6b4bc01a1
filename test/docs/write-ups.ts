import { z } from 'zod';
import { table } from './reference.ts';

const names = z
  .union([z.string(), z.array(z.string())])
  .default([])
  .transform((each) => [each].flat());

/** A row of docs/write-ups.yaml; the keys are explained there. */
const row = z.strictObject({
  at: z.union([z.string(), z.number()]).transform(String),
  what: z.string(),
  step: names,
  cell: names,
  check: names,
  labup: names,
  test: names,
  see: names,
  out: z.string().optional(),
});
export type Row = z.infer<typeof row>;

/** docs/write-ups.yaml. */
export const writeUps = z.array(z.strictObject({ title: z.string(), rows: z.array(row) }));

/** `simple PATTERN = OUTCOME` in its parts. */
export function parseCell(text: string): { variant: 'full' | 'simple'; pattern: string; outcome: string } {
  const [, simple, pattern = '', outcome = 'ok'] = /^(simple )?(.*?)(?: = (.+))?$/.exec(text) ?? [];
  return { variant: simple === undefined ? 'full' : 'simple', pattern, outcome };
}

/** True if something turns red where the row is not so. */
export function isAsserted({ step, cell, check, labup, test }: Row): boolean {
  return [step, cell, check, labup, test].some(({ length }) => length > 0);
}

/** docs/write-ups.md. */
export function writeUpsPage(all: z.infer<typeof writeUps>): string {
  const rows = all.flatMap((each) => each.rows);
  const count = (wanted: (row: Row) => boolean) => rows.filter(wanted).length;
  const others = rows.filter((each) => !isAsserted(each));
  return [
    '# Write-ups',
    '',
    '<!-- Made from docs/write-ups.yaml: npx vitest run --project fast test/docs -u -->',
    '',
    'The lab grew from five write-ups about services and pod networks. They are not part of it; here is each thing that they show,',
    'by its lines there, and what shows it here.',
    '',
    `**${count(isAsserted)} of ${rows.length} asserted**: something turns red where it is not so. Of the others, ${others.filter(({ out }) => out !== undefined).length} are out of reach, and`,
    `${others.filter(({ out, see }) => out === undefined && see.length > 0).length} are shown by one command that nothing asserts.`,
    '',
    'A step is one of `npx lab scenario run NAME`, a cell or check one of `npx labtest` on the default lab (pings: with `--icmp`); tests',
    "are the project's own, some of them with recorded output of programs that do not run on every lab.",
    ...all.flatMap(({ title, rows: own }) => [
      '',
      `## ${title}`,
      '',
      `${own.filter(isAsserted).length} of ${own.length} asserted.`,
      ...table(
        ['lines', 'what', 'shown by'],
        own.map((each) => [each.at, each.what, shownBy(each)]),
      ),
    ]),
    '',
  ].join('\n');
}

function shownBy({ step, cell, check, labup, test, see, out }: Row): string {
  const code = (words: readonly string[]) => words.map((each) => `\`${each}\``).join(', ');
  const part = (title: string, words: readonly string[]) =>
    words.length === 0 ? [] : [`${title} ${code(words)}`];
  return [
    ...part('step', step),
    ...cell.map(cellText),
    ...part('check', check),
    ...part('labup, step', labup),
    ...(test.length === 0 ? [] : [test.map((path) => `[${path}](../${path})`).join(', ')]),
    ...(see.length === 0 ? [] : [code(see)]),
    ...(out === undefined ? [] : [`out of reach: ${out}`]),
  ].join('; ');
}

function cellText(text: string): string {
  const { variant, pattern, outcome } = parseCell(text);
  return `cell \`${pattern}\`: ${outcome}${variant === 'simple' ? ' with `labup --echo simple`' : ''}`;
}
