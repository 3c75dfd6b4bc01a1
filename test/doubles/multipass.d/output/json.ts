import type { Given } from '../arguments.ts';
import { usage } from '../failures.ts';
import type { Call } from '../io.ts';
import { isModern } from '../knobs.ts';

type Json = unknown;

/** Prints a document. The other formats are nobody's: the driver reads JSON only. */
export function printJson(call: Call, given: Given, value: unknown): void {
  if (given.value('format') !== 'json') throw usage('Invalid format type given.');
  call.out(renderJson(value, !isModern(call.knobs)));
}

/**
 * A document as the client prints it: four spaces, empty lists and maps on two lines, a newline at the end. `sorted`: keys
 * in the order of their code units (Qt, up to 1.16); else as they were put in (Boost.JSON).
 */
function renderJson(value: Json, sorted: boolean): string {
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
