type Json = unknown;

/**
 * A document as the client prints it: four spaces, empty lists and maps on two lines, a newline at the end. `sorted`: keys
 * in the order of their code units (Qt, up to 1.16); else as they were put in (Boost.JSON).
 */
export function renderJson(value: Json, sorted: boolean): string {
  return `${render(value, '', sorted)}\n`;
}

function render(value: Json, indent: string, sorted: boolean): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const inner = `${indent}    `;
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  const items = Array.isArray(value)
    ? value.map((item) => inner + render(item, inner, sorted))
    : entriesOf(value, sorted).map(
        ([key, item]) => `${inner}${JSON.stringify(key)}: ${render(item, inner, sorted)}`,
      );
  const body = items.length === 0 ? '' : `${items.join(',\n')}\n`;
  return `${open}\n${body}${indent}${close}`;
}

function entriesOf(value: object, sorted: boolean): [string, Json][] {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return sorted ? entries.sort(([a], [b]) => (a < b ? -1 : 1)) : entries;
}
