import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** One source file, parsed; `path` is relative to the package, with forward slashes. */
export interface Source {
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

/** A source from memory, for showing that a rule sees what it should. */
export function source(path: string, text: string): Source {
  return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true) };
}

/** All files below a folder whose names end in `ending`. */
export function filesBelow(folder: string, ending: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name))
    .sort();
}

/** Every TypeScript file of scripts/. */
export function scriptSources(): readonly Source[] {
  return filesBelow('scripts', '.ts').map((path) => source(path, readFileSync(path, 'utf8')));
}

const NODES = new WeakMap<ts.Node, readonly ts.Node[]>();

/** Every node of a tree; every rule asks for those of every file. */
export function nodesOf(tree: ts.Node): readonly ts.Node[] {
  const known = NODES.get(tree);
  if (known !== undefined) return known;
  const nodes: ts.Node[] = [];
  const visit = (node: ts.Node) => {
    nodes.push(node);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  NODES.set(tree, nodes);
  return nodes;
}

const IMPORTS = new WeakMap<Source, readonly string[]>();

/** What a file imports, type-only or not: import, export from, import(), import('x').T and require(). */
export function importsOf(file: Source): readonly string[] {
  const known = IMPORTS.get(file);
  if (known !== undefined) return known;
  const imports = nodesOf(file.tree).flatMap((node) => {
    const named = specifierOf(node);
    return named !== undefined && ts.isStringLiteralLike(named) ? [named.text] : [];
  });
  IMPORTS.set(file, imports);
  return imports;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node))
    return ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
  if (!ts.isCallExpression(node)) return undefined;
  const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
  const isRequire = ts.isIdentifier(node.expression) && node.expression.text === 'require';
  return isImport || isRequire ? node.arguments[0] : undefined;
}

/** "path:line", for messages. */
export function at({ path, tree }: Source, node: ts.Node): string {
  return `${path}:${tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1}`;
}
