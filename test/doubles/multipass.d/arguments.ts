import { usage } from './failures.ts';

/** An option of a command. `value`: it takes one. */
export interface OptionSpec {
  readonly names: readonly string[];
  readonly value?: boolean;
}

/** A command line, taken apart. Options go by the first of their names. */
export interface Parsed {
  readonly positional: readonly string[];
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly unknown: readonly string[];
  readonly missing: string | undefined;
}

export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { names: ['help', 'h'] },
  { names: ['verbose', 'v'] },
  { names: ['version', 'V'] },
];

/**
 * Takes a command line apart as Qt's QCommandLineParser does: options stand anywhere before "--", "--name value",
 * "--name=value", and short ones may be written together ("-vv", "-pv").
 */
export function parseArguments(argv: readonly string[], specs: readonly OptionSpec[]): Parsed {
  const known = new Map(specs.flatMap((spec) => spec.names.map((name) => [name, spec] as const)));
  const positional: string[] = [];
  const unknown: string[] = [];
  const values = new Map<string, string[]>();
  let missing: string | undefined;
  const rest = [...argv];
  const set = (spec: OptionSpec, value: string) => {
    const key = spec.names[0] ?? '';
    values.set(key, [...(values.get(key) ?? []), value]);
  };
  const take = (spec: OptionSpec, given: string | undefined, written: string) => {
    if (!spec.value) return set(spec, '');
    const value = given ?? rest.shift();
    if (value === undefined) missing ??= written;
    else set(spec, value);
  };
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      positional.push(...rest.splice(0));
    } else if (word.startsWith('--')) {
      const [name = '', ...more] = word.slice(2).split('=');
      const spec = known.get(name);
      if (spec === undefined) unknown.push(name);
      else take(spec, more.length > 0 ? more.join('=') : undefined, `--${name}`);
    } else if (word.startsWith('-') && word !== '-') {
      for (let at = 1; at < word.length; at++) {
        const letter = word[at] ?? '';
        const spec = known.get(letter);
        if (spec === undefined) {
          unknown.push(letter);
          continue;
        }
        const glued = spec.value ? word.slice(at + 1).replace(/^=/, '') : '';
        take(spec, glued === '' ? undefined : glued, `-${letter}`);
        if (spec.value) break;
      }
    } else {
      positional.push(word);
    }
  }
  return { positional, values, unknown, missing };
}

/** Qt's words for what is wrong with a command line; undefined where nothing is. */
export function parseError({ unknown, missing }: Parsed): string | undefined {
  if (unknown.length === 1) return `Unknown option '${unknown[0]}'.`;
  if (unknown.length > 1) return `Unknown options: ${unknown.join(', ')}.`;
  return missing === undefined ? undefined : `Missing value after '${missing}'.`;
}

/** What a command was given. */
export class Given {
  readonly names: readonly string[];
  readonly #values: Parsed['values'];

  constructor(parsed: Parsed) {
    this.names = parsed.positional;
    this.#values = parsed.values;
  }

  has(option: string): boolean {
    return this.#values.has(option);
  }

  /** The last value, as Qt's value() gives. */
  value(option: string): string | undefined {
    return this.#values.get(option)?.at(-1);
  }

  all(option: string): readonly string[] {
    return this.#values.get(option) ?? [];
  }

  /** --timeout in milliseconds. */
  timeoutMs(): number | undefined {
    const text = this.value('timeout');
    if (text === undefined) return undefined;
    if (!/^\s*\+?\d+\s*$/.test(text) || Number(text) < 1) {
      throw usage('error: --timeout value has to be a positive integer');
    }
    return Number(text) * 1000;
  }
}
