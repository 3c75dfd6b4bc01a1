/** Breaks a text at spaces into lines of at most `width`; the first is indented by `first`, the others by `rest`. */
export function wrap(text: string, width: number, rest: string, first = ''): string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text
    .replaceAll(/\s*\n\s*/g, ' ')
    .split(' ')
    .flatMap((each) => pieces(each, width - rest.length))) {
    if (!isEmpty && line.length + 1 + word.length > width) {
      lines.push(line.trimEnd());
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line.trimEnd()];
}

/** A word that is longer than a line is cut. */
function pieces(word: string, size: number): string[] {
  if (word.length <= size) return [word];
  return [word.slice(0, size), ...pieces(word.slice(size), size)];
}

/** Like wrap, for a list whose items must not be torn apart. */
export function wrapItems(
  items: readonly string[],
  separator: string,
  width: number,
  rest: string,
): string[] {
  const unbroken = items.map((item) => item.replaceAll(' ', NO_BREAK));
  const gap = ' '.padStart(separator.length, NO_BREAK);
  return wrap(unbroken.join(gap), width, rest).map((line) => line.replaceAll(NO_BREAK, ' ').trimEnd());
}

const NO_BREAK = '\u00a0';

/** Rows of text as lines, every column as wide as its longest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
  return rows.map((row) => line(row).join('  ').trimEnd());
}
