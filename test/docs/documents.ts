import { readFileSync } from 'node:fs';

/** A document of the project, with what is written in it as a command. */
export interface Document {
  readonly name: string;
  readonly text: string;
}

/** Reads a document at the project's root. */
export function document(name: string): Document {
  return { name, text: readFileSync(name, 'utf8') };
}

/** The text of one section, without its heading; "" where there is none of that title. */
export function section({ text }: Document, title: string): string {
  const parts = text.split(/^## /m).slice(1);
  const found = parts.find((part) => part.split('\n')[0] === title);
  return found === undefined ? '' : found.slice(title.length);
}

/** The cells of a section's table rows, heads left out. An escaped "|" belongs to its cell. */
export function tableRows(text: string): readonly (readonly string[])[] {
  const rows = text.split('\n').filter((line) => line.startsWith('|'));
  return rows
    .filter((line, index) => !isRuler(line) && !isRuler(rows[index + 1] ?? ''))
    .map((line) =>
      line
        .slice(1, line.lastIndexOf('|'))
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    );
}

function isRuler(line: string): boolean {
  return /^\|[-|: ]+\|$/.test(line);
}

/** Everything in backquotes on one line. */
export function codeSpans(text: string): readonly string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
}

/** Lines of shell blocks that are commands, and every code span outside of blocks. */
export function codeOf({ text }: Document): readonly string[] {
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)];
  const commands = blocks.flatMap(([, language, body = '']) => {
    const lines = body.split('\n');
    if (language === 'sh') return lines;
    return language === 'console'
      ? lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2))
      : [];
  });
  return [...commands, ...codeSpans(text.replaceAll(/^```[\s\S]*?^```$/gm, ''))];
}

/** The target of every link and picture. */
export function linksOf({ text }: Document): readonly string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
}

/** The anchors that GitHub gives to the headings of a document. */
export function anchorsOf({ text }: Document): readonly string[] {
  const withoutCode = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...withoutCode.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
