import { htmlEscape } from 'escape-goat';

/** Text that is HTML already. Only `html`, `raw` and `jsonScript` make it. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template: plain values are escaped, undefined and false give nothing, lists are joined. */
export type Part = Markup | string | number | undefined | false | readonly Part[];

/** A template whose values are escaped, in text and in quoted attributes. Always quote attributes. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(strings.reduce((before, string, index) => before + textOf(parts[index - 1]) + string));
}

/** Our own CSS or script, as it is. Never for text from elsewhere. */
export function raw(text: string): Markup {
  return new Markup(text);
}

/**
 * A data block for the page's script. In JSON "<" stands only in strings, where it can be written as an escape, so no
 * text can end the element or open a comment in it.
 */
export function jsonScript(id: string, value: unknown): Markup {
  const json = JSON.stringify(value).replaceAll('<', '\\u003c');
  return html`<script type="application/json" id="${id}">${raw(json)}</script>`;
}

function textOf(part: Part): string {
  if (part === undefined || part === false) return '';
  if (part instanceof Markup) return part.text;
  return typeof part === 'object' ? part.map(textOf).join('') : htmlEscape(String(part));
}
