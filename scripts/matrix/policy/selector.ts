import type { Labels } from './types.ts';

/** A question about labels. */
export type Selector = (labels: Labels) => boolean;

const TOKEN =
  /\s*(&&|\|\||==|!=|!|\(|\)|\{|\}|,|'[^']*'|"[^"]*"|(?:all|global|has)\(|(?:not\s+in|in|contains|starts\s+with|ends\s+with)(?![\w./-])|[\w./-]+)/y;

/**
 * Reads Calico's selector language: `role == 'db' && env in {'a', 'b'} || !has(x)`. Throws where the text is something else. In
 * `global()`, which is for what has no namespace, no pod is.
 */
export function parseSelector(text: string): Selector {
  const tokens = tokensOf(text);
  let at = 0;
  const fail = (): never => {
    throw new Error(`selector ${JSON.stringify(text)} is not understood at ${tokens[at] ?? 'its end'}`);
  };
  const take = (token: string) => {
    if (tokens[at] !== token) fail();
    at += 1;
  };
  const is = (token: string) => {
    if (tokens[at] !== token) return false;
    at += 1;
    return true;
  };
  const value = (): string => {
    const token = tokens[at] ?? '';
    if (!/^['"]/.test(token)) fail();
    at += 1;
    return token.slice(1, -1);
  };
  const name = (): string => {
    const token = tokens[at] ?? '';
    if (!/^[\w./-]+$/.test(token)) fail();
    at += 1;
    return token;
  };
  const values = (): readonly string[] => {
    take('{');
    const found: string[] = [];
    while (!is('}')) {
      found.push(value());
      if (tokens[at] !== '}') take(',');
    }
    return found;
  };
  const either = (): Selector => {
    let left = both();
    while (is('||')) {
      const [one, other] = [left, both()];
      left = (labels) => one(labels) || other(labels);
    }
    return left;
  };
  const both = (): Selector => {
    let left = single();
    while (is('&&')) {
      const [one, other] = [left, single()];
      left = (labels) => one(labels) && other(labels);
    }
    return left;
  };
  const single = (): Selector => {
    if (is('!')) {
      const inner = single();
      return (labels) => !inner(labels);
    }
    if (is('(')) {
      const inner = either();
      take(')');
      return inner;
    }
    if (is('all(')) {
      take(')');
      return () => true;
    }
    if (is('global(')) {
      take(')');
      return (labels) => labels[NAMESPACE] === undefined;
    }
    if (is('has(')) {
      const key = name();
      take(')');
      return (labels) => labels[key] !== undefined;
    }
    return compared(name());
  };
  const compared = (key: string): Selector => {
    const operator = tokens[at];
    at += 1;
    if (operator === 'in' || operator === 'not in') {
      const list = values();
      return (labels) => list.includes(labels[key] ?? NONE) === (operator === 'in');
    }
    const compare = COMPARE[operator ?? ''];
    if (compare === undefined) {
      at -= 1;
      return fail();
    }
    const wanted = value();
    return (labels) => compare(labels[key], wanted);
  };
  if (tokens.length === 0) return () => true;
  const selector = either();
  if (at < tokens.length) fail();
  return selector;
}

/** The label that Calico gives whatever is in a namespace. */
export const NAMESPACE = 'projectcalico.org/namespace';
/** What no label is, since labels hold no spaces. */
const NONE = ' ';

const COMPARE: Readonly<Record<string, (label: string | undefined, wanted: string) => boolean>> = {
  '==': (label, wanted) => label === wanted,
  '!=': (label, wanted) => label !== wanted,
  contains: (label, wanted) => label?.includes(wanted) === true,
  'starts with': (label, wanted) => label?.startsWith(wanted) === true,
  'ends with': (label, wanted) => label?.endsWith(wanted) === true,
};

function tokensOf(text: string): readonly string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const from = TOKEN.lastIndex;
    const [, token] = TOKEN.exec(text) ?? [];
    if (token === undefined)
      throw new Error(`selector ${JSON.stringify(text)} is not understood at ${text.slice(from).trim()}`);
    tokens.push(token.replace(/\s+(?=in$|with$)/, ' '));
  }
  return tokens;
}
