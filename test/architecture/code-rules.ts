import ts from 'typescript';
import { folderOf } from './import-rules.ts';
import { at, nodesOf, type Source } from './sources.ts';

/** No file needs more lines; one concern is the rule, and no file is cut only to have fewer. */
export const MAX_LINES = 500;

/** Files with more lines than allowed. */
export function tooLong(
  files: readonly { readonly path: string; readonly text: string }[],
): readonly string[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.trimEnd().split('\n').length;
    return lines > MAX_LINES ? [`${path} has ${lines} lines`] : [];
  });
}

const PROCESS_ENDS = ['exit', 'exitCode', 'abort', 'stdin', 'stdout', 'stderr'];

/** Printing, and touching the process's streams or exit code, outside cli/ and the bins. */
export function printing(sources: readonly Source[]): readonly string[] {
  return sources
    .filter(({ path }) => !['cli', 'bins'].includes(folderOf(path)))
    .flatMap((source) =>
      nodesOf(source.tree)
        .filter((node) => isConsole(node) || isProcessEnd(node))
        .map((node) => `${at(source, node)}: ${node.getText(source.tree)}`),
    );
}

function isConsole(node: ts.Node): boolean {
  return ts.isIdentifier(node) && node.text === 'console' && !ts.isPropertyAccessExpression(node.parent)
    ? true
    : ts.isPropertyAccessExpression(node) && node.expression.getText() === 'console';
}

function isProcessEnd(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) {
    return node.expression.getText() === 'process' && PROCESS_ENDS.includes(node.name.text);
  }
  // const { stdout } = process
  return (
    ts.isVariableDeclaration(node) &&
    ts.isObjectBindingPattern(node.name) &&
    node.initializer?.getText() === 'process' &&
    node.name.elements.some(({ propertyName, name }) =>
      PROCESS_ENDS.includes((propertyName ?? name).getText()),
    )
  );
}

/** "as any" in any form, and comments that silence the compiler. */
export function escapes(sources: readonly Source[]): readonly string[] {
  return sources.flatMap((source) => [
    ...nodesOf(source.tree)
      .filter((node) => node.kind === ts.SyntaxKind.AnyKeyword)
      .map((node) => `${at(source, node)}: any`),
    ...linesWith(source, /@ts-(ignore|nocheck|expect-error)/),
  ]);
}

/** Work that is left for later. The words are put together here so that this file does not hold them. */
export function leftForLater(sources: readonly Source[]): readonly string[] {
  return sources.flatMap((source) =>
    linesWith(source, new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`)),
  );
}

function linesWith({ path, text }: Source, pattern: RegExp): readonly string[] {
  return text
    .split('\n')
    .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : []));
}

/** Where a timer may be set, and for what. Everything else waits with waitFor, which has a name and an end. */
export const TIMER_PLACES: ReadonlyMap<string, string> = new Map([
  ['scripts/shared/wait.ts', 'the one wait: between two looks at a named condition'],
  ['scripts/exec/ssh-connection.ts', 'the end of a connection through another host that is not made in time'],
  ['scripts/exec/local.ts', 'the end of a command that takes too long, or does not end on Ctrl-C'],
  ['scripts/exec/ssh.ts', 'the end of a remote command that takes too long'],
  [
    'scripts/artifacts/lock.ts',
    "between two looks at a lock; another labup's build has no time limit, Ctrl-C ends it",
  ],
]);

/** Timers outside the named places. */
export function timers(sources: readonly Source[]): readonly string[] {
  return sources
    .filter(({ path }) => !TIMER_PLACES.has(path))
    .flatMap((source) =>
      nodesOf(source.tree).flatMap((node) => {
        const isImport =
          ts.isImportDeclaration(node) && /timers/.test(node.moduleSpecifier.getText(source.tree));
        const isCall =
          ts.isCallExpression(node) &&
          /^(globalThis\.)?set(Timeout|Interval)$/.test(node.expression.getText(source.tree));
        return isImport || isCall ? [`${at(source, node)}: ${node.getText(source.tree).split('\n')[0]}`] : [];
      }),
    );
}

/** Exported functions, also those that are constants, without a doc comment of their own. */
export function undocumented(sources: readonly Source[]): readonly string[] {
  return sources.flatMap((source) =>
    source.tree.statements
      .filter((statement) => isExported(statement) && isFunction(statement))
      .filter((statement) => !hasDoc(source, statement))
      .map((statement) => `${at(source, statement)}: ${statement.getText(source.tree).split('\n')[0]}`),
  );
}

function isExported(statement: ts.Statement): boolean {
  return (
    ts.canHaveModifiers(statement) &&
    (ts.getModifiers(statement) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
  );
}

function isFunction(statement: ts.Statement): boolean {
  if (ts.isFunctionDeclaration(statement)) return true;
  return (
    ts.isVariableStatement(statement) &&
    statement.declarationList.declarations.some(
      ({ initializer }) =>
        initializer !== undefined &&
        (ts.isArrowFunction(initializer) || ts.isFunctionExpression(initializer)),
    )
  );
}

function hasDoc({ text }: Source, statement: ts.Statement): boolean {
  const comments = ts.getLeadingCommentRanges(text, statement.getFullStart()) ?? [];
  return comments.some(({ pos }) => text.startsWith('/**', pos));
}
