import type { Command } from 'commander';
import type { Scenario } from '../../scripts/scenarios/scenario.ts';

/** What docs/lab-yaml.md reads of a JSON Schema. */
export interface Schema {
  readonly default?: unknown;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
}

/** docs/cli.md: every command of these programs with its arguments and options, as its --help says them. */
export function cliReference(programs: readonly Command[]): string {
  return [
    '# Commands',
    '',
    '<!-- Made from scripts/cli/program.ts: npx vitest run --project fast test/docs -u -->',
    '',
    '`lab up`, `lab test`, `lab down` and `lab selftest` are `labup`, `labtest`, `labdown` and `labtest selftest`. All take',
    '`-f, --file FILE` (the lab to work on; default: `lab.yaml` of this folder, and without one the default lab), `--json` (one',
    'JSON document on standard output and nothing else) and `--help`. Progress goes to standard error. On a terminal `labup` asks before it installs packages and `labdown` before',
    'it removes anything; without a terminal they stop with exit code 2 unless `--yes` is given, and say what they would have done.',
    ...programs.flatMap((program) => describeCommand(program, program.name())),
    '',
  ].join('\n');
}

const ALIASES = ['lab up', 'lab test', 'lab down', 'lab selftest'];
const EVERYWHERE = ['--version', '--json', '--file'];

function describeCommand(command: Command, name: string): readonly string[] {
  const words = command.registeredArguments.map((each) => {
    const text = each.variadic ? `${each.name()}...` : each.name();
    return each.required ? `<${text}>` : `[${text}]`;
  });
  const options = command.options.filter(({ long }) => !EVERYWHERE.includes(long ?? ''));
  const rows = options.map(({ flags, description, argChoices, defaultValue }) => [
    `\`${flags}\``,
    [
      description,
      ...(argChoices === undefined ? [] : [`one of ${argChoices.join(', ')}`]),
      ...(defaultValue === undefined ? [] : [`default: ${defaultValue}`]),
    ].join('; '),
  ]);
  const explained = command.registeredArguments.filter(({ description }) => description !== '');
  const isGroup = command.commands.length > 0 && rows.length === 0;
  const own = [
    '',
    `## ${[name, ...words].join(' ')}`,
    '',
    command.description(),
    ...explained.map((each) => `\`${each.name()}\`: ${each.description}.`),
    ...table(['option', 'meaning'], rows),
  ];
  const inside = command.commands.map((each) => [each, `${name} ${each.name()}`] as const);
  return [
    ...(isGroup ? [] : own),
    ...inside.flatMap(([each, full]) => (ALIASES.includes(full) ? [] : describeCommand(each, full))),
  ];
}

/** docs/scenarios.md: what scenarios are, and each with its lesson. */
export function scenarioReference(scenarios: readonly Scenario[]): string {
  return [
    '# Scenarios',
    '',
    '<!-- Made from scripts/scenarios/catalogue.ts: npx vitest run --project fast test/docs -u -->',
    '',
    'A scenario is a lesson that runs step by step on the running lab: each command as one would type it, the lines of its output',
    'that matter, whether that is what must be seen, and why. It works in namespaces of its own, called `lab-NAME`, over plain',
    'manifests in [manifests/scenarios/](../manifests/scenarios/) that `kubectl apply -f` takes without this tool. Whatever it',
    'changes is undone at the end, also on Ctrl-C; what a killed run left is undone by the next command that opens the lab.',
    '',
    '```sh',
    'npx lab scenario list',
    'npx lab scenario show replicas            # the commands and what must be seen; nothing is run',
    'npx lab scenario run replicas --pause     # waits for Enter before each step',
    'npx lab scenario run --all --html run.html',
    '```',
    '',
    'Exit codes are those of labtest: 0 all is as it must be, 1 something is not, 4 nothing is known, 3 nothing ran (or, with',
    '`--strict`, something was skipped). A scenario that needs what this lab does not have is skipped with the reason. After a',
    'step that fails the rest of its scenario is not run. What the write-ups of the beginning show, row by row, and which step',
    'shows it: [write-ups.md](write-ups.md).',
    ...table(
      ['name', 'title', 'lesson'],
      scenarios.map(({ name, title, lesson }) => [`\`${name}\``, title, lesson]),
    ),
    '',
  ].join('\n');
}

/** docs/lab-yaml.md: every key with its default and meaning, from the schema that lab.yaml is checked with. */
export function specReference(schema: Schema): string {
  const rows = keysOf(schema).map(([key, value, required]) => [
    `\`${key}\``,
    value.default === undefined ? (required ? 'required' : '') : `\`${shown(value.default)}\``,
    [value.description ?? '', value.enum === undefined ? '' : `One of ${value.enum.join(', ')}.`]
      .join(' ')
      .trim(),
  ]);
  return [
    '# lab.yaml',
    '',
    '<!-- Made from scripts/spec/schema.ts: npx vitest run --project fast test/docs -u -->',
    '',
    '[lab.yaml](../lab.yaml) of this package is the default lab, which is also what a folder without the file means; `npx lab init`',
    'writes it there. Every key but `version` may be left out; the defaults give the same lab. Unknown keys are errors. All problems are reported at once, each with file, line, column, reason and fix. Editors that',
    'read `yaml-language-server` comments complete and check the file with [lab.schema.json](../lab.schema.json).',
    ...table(['key', 'default', 'meaning'], rows),
    '',
    'What `--driver`, `--distribution`, `--artifacts` and `--small` said when a lab was made is part of it, and so is what `auto`',
    'came to: later commands without these flags go on with it, until `labdown`. `--echo` holds for one `labup`: the next one goes',
    'back to what lab.yaml says.',
    '',
    'A running lab is not turned into another one: after a change of anything but `echo.variant`, `labup` stops with exit code 2',
    'and names what differs; `npx labdown --yes && npx labup --yes` makes it anew. A second lab beside the first needs its own',
    'name, subnet and bridge, as in [valid-second-lab.yaml](../test/specs/valid-second-lab.yaml).',
    '',
  ].join('\n');
}

/** The keys of a schema that hold a value, as paths, with whether each must be given. */
export function keysOf(
  schema: Schema,
  path = '',
  required = false,
): readonly (readonly [string, Schema, boolean])[] {
  const { properties, items } = schema;
  if (properties !== undefined)
    return Object.entries(properties).flatMap(([key, value]) =>
      keysOf(value, path === '' ? key : `${path}.${key}`, schema.required?.includes(key)),
    );
  if (items?.properties !== undefined) return [[path, schema, required], ...keysOf(items, `${path}[]`)];
  return [[path, schema, required]];
}

function shown(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
}

/** A Markdown table after an empty line; nothing where there are no rows. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return ['', line(heads), `|${heads.map(() => '---').join('|')}|`, ...rows.map(line)];
}
