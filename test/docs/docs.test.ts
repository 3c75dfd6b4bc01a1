/** The documents against what they describe: commands, options, keys, defaults, paths, exit codes, dependencies. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import type { Handlers } from '../../scripts/cli/handlers.ts';
import { type BinName, program } from '../../scripts/cli/program.ts';
import { OUTCOMES } from '../../scripts/matrix/findings.ts';
import { EXIT } from '../../scripts/shared/errors.ts';
import { loadSpec } from '../../scripts/spec/load.ts';
import { FOLDERS } from '../architecture/import-rules.ts';
import { filesBelow } from '../architecture/sources.ts';
import { anchorsOf, codeOf, codeSpans, document, linksOf, section, tableRows } from './documents.ts';

const contributing = document('CONTRIBUTING.md');
const operations = document('docs/operations.md');
const results = document('docs/reading-results.md');
const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...filesBelow('docs', '.md')].map(
  document,
);

// Nothing is run: only the definitions are looked at.
const bin = (name: BinName): Command => program(name, {} as Handlers, {});
const lab = bin('lab');
/** Every verb of lab: one word, or two ("bundle create"). */
const verbs = new Map(
  lab.commands.flatMap((command): [string, Command][] =>
    ['bundle', 'scenario'].includes(command.name())
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

it.each(['README.md', 'CONTRIBUTING.md'])('%s stays short enough to be read', (name) => {
  expect(Buffer.byteLength(document(name).text)).toBeLessThan(8000);
});

it('docs/reading-results.md has every exit code and every outcome', () => {
  const rows = tableRows(section(results, 'Exit codes'));
  expect(rows.map(([code]) => Number(code))).toEqual(Object.values(EXIT));
  const spans = codeSpans(results.text);
  expect(OUTCOMES.filter((outcome) => !spans.includes(outcome))).toEqual([]);
});

it('docs/operations.md quotes messages that the lab has', () => {
  const sources = filesBelow('scripts', '.ts').map((path) =>
    readFileSync(path, 'utf8').replaceAll("\\'", "'"),
  );
  const symptoms = tableRows(section(operations, 'Troubleshooting')).flatMap(([symptom = '']) =>
    codeSpans(symptom),
  );
  // What varies in a message is left out.
  const pieces = symptoms.flatMap((text) => text.split(/ ?\.\.\. ?| labbr0|^labup (?=is already)|N\)$/));
  const wanted = pieces.filter((piece) => piece !== '');
  expect(wanted.length).toBeGreaterThan(10);
  expect(wanted.filter((piece) => !sources.some((text) => text.includes(piece)))).toEqual([]);
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
});

it('docs/development.md has every dependency with its licence', () => {
  const rows = tableRows(section(document('docs/development.md'), 'Dependencies'));
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
