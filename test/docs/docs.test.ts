/** The documents against what they describe: commands, options, keys, defaults, paths, exit codes, dependencies. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import type { Handlers } from '../../scripts/cli/handlers.ts';
import { type BinName, program } from '../../scripts/cli/program.ts';
import { OUTCOMES } from '../../scripts/matrix/types.ts';
import { EXIT } from '../../scripts/shared/errors.ts';
import { loadSpec } from '../../scripts/spec/load.ts';
import { FOLDERS } from '../architecture/import-rules.ts';
import { filesBelow } from '../architecture/sources.ts';
import { anchorsOf, codeOf, codeSpans, document, linksOf, section, tableRows } from './documents.ts';

const readme = document('README.md');
const contributing = document('CONTRIBUTING.md');
const documents = [
  readme,
  contributing,
  document('CHANGELOG.md'),
  document('docs/multipass.md'),
  document('docs/ssh.md'),
  document('docs/bundle.md'),
];

// Nothing is run: only the definitions are looked at.
const bin = (name: BinName): Command => program(name, {} as Handlers, {});
const lab = bin('lab');
/** Every verb of lab: one word, or two ("bundle create"). */
const verbs = new Map(
  lab.commands.flatMap((command): [string, Command][] =>
    command.name() === 'bundle'
      ? command.commands.map((each) => [`${command.name()} ${each.name()}`, each])
      : [[command.name(), command]],
  ),
);
const verbOf = (words: readonly string[]) =>
  verbs.has(words.slice(0, 2).join(' ')) ? words.slice(0, 2).join(' ') : words[0];
const packageJson = JSON.parse(readFileSync('package.json', 'utf8')) as {
  readonly bin: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
};

/** The options of a command as they can be typed, "--yes" and "-y". */
function optionsOf(command: Command): readonly string[] {
  const flags = command.options.flatMap(({ long, short }) => [long, short]);
  return [...flags.filter((flag) => typeof flag === 'string'), '--help'];
}

/** What is wrong with a command line of the lab, as the documents write it. */
function fault(words: readonly string[]): string | undefined {
  const [name = '', ...rest] = words;
  const verb = name === 'lab' ? verbOf(rest) : undefined;
  const command = verb === undefined ? bin(name as BinName) : verbs.get(verb);
  if (command === undefined) return `there is no verb ${verb}`;
  if (verb === 'kubectl') return undefined;
  const ours = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest;
  const known = optionsOf(command);
  const unknown = ours.filter((word) => word.startsWith('-') && !known.includes(word.split('=')[0] ?? ''));
  return unknown.length === 0 ? undefined : `there is no ${unknown.join(', ')}`;
}

const isPlaceholder = (word: string | undefined) => word === undefined || word === '<verb>';

/** Every `npx lab...` and `lab...` in a piece of code, as words. */
function labCommands(code: string): readonly (readonly string[])[] {
  return code
    .split(/&&|\||;|#/)
    .map((part) => part.trim().replace(/^npx /, '').split(/\s+/))
    .filter(([name = '']) => name in packageJson.bin)
    .filter(([name, verb]) => name !== 'lab' || !isPlaceholder(verb));
}

describe.each(documents)('$name', (each) => {
  it('names commands and options that exist', () => {
    const commands = codeOf(each).flatMap(labCommands);
    const faults = commands.flatMap((words) => {
      const found = fault(words);
      return found === undefined ? [] : [`${words.join(' ')}: ${found}`];
    });
    expect(faults).toEqual([]);
  });

  it('names npm scripts that exist', () => {
    const named = codeOf(each).flatMap((code) => [...code.matchAll(/npm (?:run ([\w:]+)|(test))/g)]);
    const scripts = named.map(([, script, test]) => script ?? test ?? '');
    expect(scripts.filter((script) => !(script in packageJson.scripts))).toEqual([]);
  });

  it('links to what exists', () => {
    const broken = linksOf(each).filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [link = '', anchor] = target.split('#');
      const path = link === '' ? '' : join(dirname(each.name), link);
      if (path !== '' && !existsSync(path)) return true;
      if (anchor === undefined) return false;
      return !anchorsOf(path === '' ? each : document(path)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('names paths that exist', () => {
    const folders = readdirSync('.', { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !/^(\.|node_modules$|dist$)/.test(entry.name))
      .map(({ name }) => name);
    const path = new RegExp(`(?<![\\w/.-])(?:${folders.join('|')})/[\\w./-]*\\w?`, 'g');
    const text = each.text.replaceAll(/https?:\S+/g, '');
    const named = [...text.matchAll(path)].map(([found]) => found.replace(/\.+$/, ''));
    expect(named.filter((name) => !existsSync(name))).toEqual([]);
  });

  it('is not about the machine that it was written on', () => {
    expect(each.text.split('\n').filter((line) => /\/(work|tmp|root)\b/.test(line))).toEqual([]);
  });
});

describe('the commands of README.md', () => {
  const rows = tableRows(section(readme, 'Commands'));
  /** The row that describes a verb, or a bin of its own. */
  const rowOf = (name: string) =>
    rows.find(([commands = '']) =>
      codeSpans(commands).some((code) => code === name || code.startsWith(`${name} `)),
    );

  it.each([...verbs.keys()])('describe lab %s with all its options', (verb) => {
    const row = rowOf(`lab ${verb}`);
    expect(row, `a row for lab ${verb}`).toBeDefined();
    const shared = ['--file', '--json', '--help', '--version'];
    const command = verbs.get(verb);
    const long = command?.options.flatMap(({ long }) => (typeof long === 'string' ? [long] : [])) ?? [];
    const listed = codeSpans(row?.[1] ?? '').flatMap((code) => code.split(/[, ]+/));
    expect(listed.filter((word) => word.startsWith('--')).sort()).toEqual(
      long.filter((option) => !shared.includes(option)).sort(),
    );
  });

  it('describe no verb that does not exist', () => {
    const described = rows.flatMap(([commands = '']) => codeSpans(commands));
    const named = described
      .filter((code) => code.startsWith('lab '))
      .map((code) => verbOf(code.split(' ').slice(1)) ?? '');
    expect(named.filter((verb) => !verbs.has(verb))).toEqual([]);
  });

  it('describe every bin', () => {
    const described = rows
      .flatMap(([commands = '']) => codeSpans(commands))
      .map((code) => code.split(' ')[0]);
    expect(new Set(described)).toEqual(new Set(Object.keys(packageJson.bin)));
  });
});

describe('the lab.yaml reference of README.md', () => {
  const rows = tableRows(section(readme, 'lab.yaml'));

  interface Schema {
    readonly default?: unknown;
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly items?: Schema;
  }
  const keysOf = (schema: Schema, path: string): readonly (readonly [string, Schema])[] => {
    const { properties, items } = schema;
    if (properties !== undefined) {
      return Object.entries(properties).flatMap(([key, value]) =>
        keysOf(value, path === '' ? key : `${path}.${key}`),
      );
    }
    const inside = items?.properties === undefined ? [] : keysOf(items, `${path}[]`);
    return [[path, schema], ...inside];
  };
  const keys = keysOf(JSON.parse(readFileSync('lab.schema.json', 'utf8')) as Schema, '');

  it('has every key of the schema and no other', () => {
    expect(rows.map(([key = '']) => codeSpans(key)[0])).toEqual(keys.map(([key]) => key));
  });

  it.each(keys.filter(([, schema]) => schema.default !== undefined))(
    'gives the default of %s',
    (key, schema) => {
      const row = rows.find(([name]) => name === `\`${key}\``);
      const value = Array.isArray(schema.default) ? `[${schema.default.join(', ')}]` : String(schema.default);
      expect(row?.[1]).toBe(`\`${value}\``);
    },
  );
});

describe('what README.md says of results', () => {
  it('has every exit code', () => {
    const rows = tableRows(section(readme, 'Exit codes'));
    expect(rows.map(([code]) => Number(code))).toEqual(Object.values(EXIT));
  });

  it('has every outcome', () => {
    const spans = codeSpans(section(readme, 'Reading a result'));
    expect(OUTCOMES.filter((outcome) => !spans.includes(outcome))).toEqual([]);
  });

  it('quotes messages that the lab has', () => {
    const sources = filesBelow('scripts', '.ts').map((path) =>
      readFileSync(path, 'utf8').replaceAll("\\'", "'"),
    );
    const symptoms = tableRows(section(readme, 'Troubleshooting')).flatMap(([symptom = '']) =>
      codeSpans(symptom),
    );
    // What varies in a message is left out.
    const pieces = symptoms.flatMap((text) => text.split(/ ?\.\.\. ?| labbr0|^labup (?=is at)|N\)$/));
    const wanted = pieces.filter((piece) => piece !== '');
    expect(wanted.length).toBeGreaterThan(10);
    expect(wanted.filter((piece) => !sources.some((text) => text.includes(piece)))).toEqual([]);
  });
});

describe('the topology', () => {
  const drawing = readFileSync('docs/topology.svg', 'utf8');

  it.each(loadSpec('lab.yaml').machines)('shows $name with its address', ({ name, address }) => {
    expect(drawing).toContain(`>${name}<`);
    expect(drawing).toContain(`>${address}<`);
  });
});

describe('CONTRIBUTING.md', () => {
  it('has the import order that is checked', () => {
    expect(contributing.text).toContain(`\n${FOLDERS.join(' · ')}\n`);
  });

  it('has at least 20 tasks', () => {
    expect(tableRows(section(contributing, 'Where to change what')).length).toBeGreaterThanOrEqual(20);
  });

  it('has every dependency with its licence', () => {
    const rows = tableRows(section(contributing, 'Dependencies'));
    const licenceOf = (name: string): string => {
      const about = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as {
        readonly license?: string;
        readonly licenses?: readonly { readonly type: string }[];
      };
      return (about.license ?? about.licenses?.[0]?.type ?? 'none').replace(' OR ', ' or ');
    };
    const names = [...Object.keys(packageJson.dependencies), ...Object.keys(packageJson.devDependencies)];
    expect(rows.map(([name, licence]) => [name, licence])).toEqual(
      names.map((name) => [name, licenceOf(name)]),
    );
  });
});
