import { posix } from 'node:path';
import ts from 'typescript';
import { importsOf, type Source } from './sources.ts';

/** A folder imports only from itself and from those before it; files of scripts/ itself are the bins. */
export const FOLDERS = [
  'shared',
  'spec',
  'plan',
  'render',
  'exec',
  'artifacts',
  'machines',
  'cluster',
  'bgp',
  'workloads',
  'matrix',
  'diagnostics',
  'report',
  'selftest',
  'scenarios',
  'commands',
  'cli',
  'bins',
] as const;

/** The folder of scripts/ that a file belongs to. */
export function folderOf(path: string): string {
  const parts = path.split('/');
  return parts.length === 2 ? 'bins' : (parts[1] ?? '');
}

/** The files of the project that each file imports. */
function projectImports(source: Source): readonly string[] {
  return importsOf(source)
    .filter((name) => name.startsWith('.'))
    .map((name) => posix.join(posix.dirname(source.path), name));
}

/** Imports against the order of folders, and folders that have no place in it. Type-only imports count. */
export function orderViolations(sources: readonly Source[]): readonly string[] {
  const rank = (path: string) => (FOLDERS as readonly string[]).indexOf(folderOf(path));
  return sources.flatMap((source) => {
    if (rank(source.path) < 0)
      return [`${source.path}: folder ${folderOf(source.path)} has no place in the order`];
    return projectImports(source)
      .filter((target) => rank(target) > rank(source.path) || !target.startsWith('scripts/'))
      .map((target) => `${source.path} imports ${target}`);
  });
}

/** Rings of files that import each other, each told once. Type-only imports count. */
export function cycles(sources: readonly Source[]): readonly string[] {
  const imports = new Map(sources.map((source) => [source.path, projectImports(source)]));
  const found = new Map<string, string>();
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const seenAt = trail.indexOf(path);
    if (seenAt >= 0) {
      const ring = trail.slice(seenAt);
      found.set([...ring].sort().join(), [...ring, path].join(' -> '));
      return;
    }
    if (finished.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...trail, path]);
    finished.add(path);
  };
  for (const { path } of sources) visit(path, []);
  return [...found.values()];
}

/** Packages and built-in modules that only one folder may import. */
export const RESERVED: readonly { readonly module: RegExp; readonly folder: string }[] = [
  { module: /^(node:)?child_process$/, folder: 'exec' },
  { module: /^(zx|node-ssh|ssh2)(\/|$)/, folder: 'exec' },
  { module: /^listr2(\/|$)/, folder: 'cli' },
];

/** Imports of a reserved module outside its folder. */
export function reservedImports(sources: readonly Source[]): readonly string[] {
  return sources.flatMap((source) =>
    importsOf(source)
      .filter((name) =>
        RESERVED.some(({ module, folder }) => module.test(name) && folderOf(source.path) !== folder),
      )
      .map((name) => `${source.path} imports ${name}`),
  );
}

/** The packages that are loaded together with a file: through imports of values, not those within a function. */
export function loadedWith(sources: readonly Source[], start: string): readonly string[] {
  const files = new Map(sources.map((source) => [source.path, source]));
  const seen = new Set<string>();
  const packages = new Set<string>();
  const visit = (path: string) => {
    const source = files.get(path);
    if (source === undefined || seen.has(path)) return;
    seen.add(path);
    for (const name of valueImports(source)) {
      if (name.startsWith('.')) visit(posix.join(posix.dirname(path), name));
      else if (!name.startsWith('node:')) packages.add(name);
    }
  };
  visit(start);
  return [...packages].sort();
}

function valueImports({ tree }: Source): readonly string[] {
  return tree.statements.flatMap((each) => {
    if (!ts.isImportDeclaration(each) || !ts.isStringLiteral(each.moduleSpecifier)) return [];
    const clause = each.importClause;
    const named = clause?.namedBindings;
    const isType =
      clause?.isTypeOnly === true ||
      (clause?.name === undefined &&
        named !== undefined &&
        ts.isNamedImports(named) &&
        named.elements.every(({ isTypeOnly }) => isTypeOnly));
    return isType ? [] : [each.moduleSpecifier.text];
  });
}

/** Files that hand on what others export. */
export function barrels(sources: readonly Source[]): readonly string[] {
  return sources
    .filter(({ path, tree }) => {
      const handsOn = tree.statements.some((each) => ts.isExportDeclaration(each) && each.moduleSpecifier);
      return handsOn || posix.basename(path) === 'index.ts';
    })
    .map(({ path }) => path);
}

/** Where the sentences about findings are made, and what shows them beside report/ and cli/: progress, errors, a selftest. */
const SENTENCES = /^scripts\/report\/(.*-text|words)\.ts$/;
const SHOWN_BY = ['scripts/commands/up/cluster.ts', 'scripts/selftest/judge.ts'];

/** Imports of the sentences about findings where they are not shown: a finding is data, and nothing matches on its text. */
export function sentenceImports(sources: readonly Source[]): readonly string[] {
  return sources
    .filter(({ path }) => !['report', 'cli', 'bins'].includes(folderOf(path)) && !SHOWN_BY.includes(path))
    .flatMap((source) =>
      projectImports(source)
        .filter((target) => SENTENCES.test(target))
        .map((target) => `${source.path} imports ${target}`),
    );
}
