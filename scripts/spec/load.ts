import { readFileSync, statSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
  visit,
  type YAMLMap,
} from 'yaml';
import { messageOf } from '../shared/errors.ts';
import { completeSpec } from './defaults.ts';
import { explainIssues } from './explain.ts';
import {
  asdotNumber,
  type Complaint,
  formatPath,
  type PathPart,
  type Problem,
  SpecError,
  show,
  sortProblems,
} from './problems.ts';
import { labSchema } from './schema.ts';
import type { LabSpec } from './types.ts';
import { draftOf, validateDraft } from './validate.ts';

/** A spec is a page of text; a larger file is something else. */
export const SPEC_BYTES_MAX = 256 * 1024;

/** A spec that can be used, or everything that is wrong with it. */
export type CheckedSpec =
  | { readonly spec: LabSpec; readonly problems: readonly [] }
  | { readonly spec?: never; readonly problems: readonly Problem[] };

/** What was read last: a command asks for the lab's name, and then for its plan. */
let last: { readonly path: string; readonly text: string; readonly spec: LabSpec } | undefined;

/** Reads lab.yaml. Throws SpecError (exit 2) with every problem, each with its place, reason and fix. */
export function loadSpec(path: string): LabSpec {
  const text = decode(readBytes(path), path);
  if (last?.path !== path || last.text !== text) last = { path, text, spec: parseSpec(text, path) };
  return last.spec;
}

/** Parses the text of a spec. `fileName` is for messages only. Throws SpecError (exit 2). */
export function parseSpec(text: string, fileName: string): LabSpec {
  const checked = checkSpec(text, fileName);
  if (checked.spec === undefined) throw new SpecError(fileName, checked.problems);
  return checked.spec;
}

/** Like parseSpec, but returns the problems, sorted by place. */
export function checkSpec(text: string, fileName: string): CheckedSpec {
  // A byte order mark would shift the first line's columns.
  const { source, complaints } = readSource(text.replace(/^\uFEFF/, ''));
  const problems = complaints.map((complaint) => problemOf(fileName, complaint));
  if (source === undefined) return { problems: sortProblems(problems) };

  const parsed = labSchema.safeParse(source.value);
  const issues = parsed.error?.issues ?? [];
  const lineOf = (path: readonly PathPart[]) => (source.has(path) ? source.position(path).line : undefined);
  const found: Complaint[] = [
    ...explainIssues(issues, source.value),
    ...validateDraft(draftOf(source.value, issues), lineOf),
  ];
  for (const complaint of found) {
    problems.push(problemOf(fileName, { ...complaint, ...source.position(complaint.path, complaint.at) }));
  }
  if (problems.length > 0 || !parsed.success) return { problems: sortProblems(problems) };
  return { spec: completeSpec(parsed.data), problems: [] };
}

function problemOf(file: string, complaint: PlacedComplaint): Problem {
  const { line, column, path, message, hint } = complaint;
  return { file, line, column, path: formatPath(path), message, hint };
}

function readBytes(path: string): Buffer {
  try {
    const stat = statSync(path);
    if (stat.isDirectory())
      throw fileError(path, 'is a folder', `name the file in it, for example ${path}/lab.yaml`);
    // A pipe or device has no size to check and may never end.
    if (!stat.isFile()) throw fileError(path, 'is no regular file', 'save the spec in a file and name that');
    if (stat.size > SPEC_BYTES_MAX) {
      throw fileError(
        path,
        `has ${stat.size} bytes, ${SPEC_BYTES_MAX} at most`,
        'name a lab spec, a short YAML file',
      );
    }
    return readFileSync(path);
  } catch (error) {
    if (error instanceof SpecError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      const next =
        'Name an existing file: labup --file PATH. Without --file, labup reads lab.yaml of this folder.';
      throw fileError(path, 'does not exist', 'create it, or name another file', next);
    }
    throw fileError(path, `cannot be read: ${messageOf(error)}`, 'make it a readable file');
  }
}

/** UTF-8, or UTF-16 with a byte order mark as Windows editors write it. */
function decode(bytes: Buffer, path: string): string {
  const [first, second] = bytes;
  const encoding =
    first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw fileError(path, `is no ${encoding.toUpperCase()} text`, 'save it as UTF-8');
  }
  if (text.includes('\0'))
    throw fileError(path, 'holds NUL characters, so it is no text', 'save it as UTF-8');
  return text;
}

function fileError(file: string, message: string, hint: string, next?: string): SpecError {
  return new SpecError(file, [{ file, line: 0, column: 0, path: '', message, hint }], next);
}

/** 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A YAML file that was read: its value, and where each part of it stands. */
export interface YamlSource {
  readonly value: unknown;
  /** Where a path stands, or the nearest part above it that exists. */
  position(path: readonly PathPart[], at?: 'key' | 'value'): Position;
  /** Whether the file itself has this path (defaults do not). */
  has(path: readonly PathPart[]): boolean;
}

/** A complaint whose place is known already. */
export type PlacedComplaint = Complaint & Position;

/** YamlSource is absent where the text gives no value that could be looked at further. */
export interface ReadSource {
  readonly source?: YamlSource;
  readonly complaints: readonly PlacedComplaint[];
}

/** Reads one YAML 1.2 document that is a map. Reports syntax errors, duplicate keys and a wrong number of documents. */
export function readSource(text: string): ReadSource {
  const lines = new LineCounter();
  const place = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    // linePos says line 0 for an offset before the first line start, as with an empty text.
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const whole = (message: string, hint: string, at: Position = { line: 1, column: 1 }): PlacedComplaint => ({
    path: [],
    message,
    hint,
    ...at,
  });

  let documents: readonly Document.Parsed[];
  try {
    // Duplicate keys are found below, with both places; they would stop the parser's other findings.
    documents = [
      ...parseAllDocuments(text, {
        lineCounter: lines,
        uniqueKeys: false,
        prettyErrors: false,
        logLevel: 'error',
      }),
    ];
  } catch (error) {
    // The parser recurses: a RangeError is the call stack's end.
    return {
      complaints: [whole(`cannot be parsed: ${messageOf(error)}`, 'write a map of at most three levels')],
    };
  }

  const [document, second] = documents;
  if (
    document === undefined ||
    (second === undefined && document.contents === null && !hasFaults(document))
  ) {
    return { complaints: [whole('the file is empty', 'write at least "version: 1"')] };
  }
  const faults = documents.flatMap((each) => [...each.errors, ...each.warnings]);
  if (faults.length > 0) {
    return {
      complaints: faults.map((fault) =>
        whole(`YAML syntax: ${fault.message}`, syntaxHint(fault.code), place(fault.pos[0])),
      ),
    };
  }
  if (second !== undefined) {
    const at = place(second.contents?.range?.[0] ?? second.range[0]);
    return {
      complaints: [
        whole(`the file holds ${documents.length} documents`, 'keep one; remove the "---" between them', at),
      ],
    };
  }
  if (!isMap(document.contents)) {
    const at = place(document.contents?.range?.[0] ?? 0);
    return {
      complaints: [
        whole(`the document is ${kindOf(document.contents)}, no map`, 'write "key: value" lines', at),
      ],
    };
  }

  const unresolved = unresolvedAliases(document, place);
  if (unresolved.length > 0) return { complaints: unresolved };
  readAsdot(document);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    return {
      complaints: [whole(`YAML aliases: ${messageOf(error)}`, 'write the values out, without "*" and "&"')],
    };
  }
  const complaints = duplicateKeys(document, place);
  return { source: sourceOf(document, value, place), complaints };
}

/** AS numbers in asdot notation, from the text itself: to YAML 1.10 is the number 1.1. */
function readAsdot(document: Document.Parsed): void {
  for (const key of ['clusterAsn', 'routerAsn']) {
    const node = document.getIn(['bgp', key], true);
    if (isScalar(node)) node.value = asdotNumber(node.source ?? '') ?? node.value;
  }
}

function hasFaults(document: Document.Parsed): boolean {
  return document.errors.length + document.warnings.length > 0;
}

function kindOf(node: unknown): string {
  if (isSeq(node)) return 'a list';
  if (isScalar(node)) return `the single value ${show(node.value)}`;
  return 'something else';
}

function syntaxHint(code: string): string {
  if (code === 'TAB_AS_INDENT') return 'indent with spaces; YAML allows no tabs there';
  if (code === 'BAD_INDENT') return 'align this line with its neighbours';
  if (code === 'MISSING_CHAR') return 'close the quote or bracket, or add the missing character';
  if (code === 'TAG_RESOLVE_FAILED') return 'remove the tag ("!...")';
  return 'correct the line; lab.yaml of this release is an example';
}

/** Every alias without an anchor before it. */
function unresolvedAliases(
  document: Document.Parsed,
  place: (offset: number) => Position,
): PlacedComplaint[] {
  const found: PlacedComplaint[] = [];
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return;
      const at = place(rangeStart(alias) ?? 0);
      const hint = `write the value out, or put "&${alias.source}" before the value above that is meant`;
      found.push({ path: [], message: `the alias *${alias.source} names no anchor`, hint, ...at });
    },
  });
  return found;
}

/** Every key that stands twice in one map, at its second place. */
function duplicateKeys(document: Document.Parsed, place: (offset: number) => Position): PlacedComplaint[] {
  const found: PlacedComplaint[] = [];
  visit(document, {
    Map(_key, map, ancestors) {
      const first = new Map<string, Position>();
      for (const pair of map.items) {
        const at = place(rangeStart(pair.key) ?? 0);
        const name = keyOf(pair);
        const before = first.get(name);
        if (before === undefined) {
          first.set(name, at);
          continue;
        }
        found.push({
          path: [...pathTo(ancestors, map), name],
          message: `the key ${show(name)} stands twice, first on line ${before.line}`,
          hint: 'remove one of the two',
          ...at,
        });
      }
    },
  });
  return found;
}

/** The path of a node from its chain of ancestors, as `visit` gives it. */
function pathTo(ancestors: readonly unknown[], node: unknown): PathPart[] {
  const path: PathPart[] = [];
  const chain = [...ancestors, node];
  chain.forEach((each, index) => {
    if (isPair(each)) path.push(keyOf(each));
    if (isSeq(each) && index + 1 < chain.length) path.push(each.items.indexOf(chain[index + 1]));
  });
  return path;
}

function sourceOf(
  document: Document.Parsed,
  value: unknown,
  place: (offset: number) => Position,
): YamlSource {
  const find = (path: readonly PathPart[]): { key?: unknown; node: unknown; depth: number } => {
    let key: unknown;
    let node: unknown = document.contents;
    for (const [depth, part] of path.entries()) {
      const inner = isAlias(node) ? node.resolve(document) : node;
      if (isMap(inner) && typeof part === 'string') {
        const pair = lastPair(inner, part);
        if (pair === undefined) return { key, node, depth };
        key = pair.key;
        node = pair.value;
      } else if (isSeq(inner) && typeof part === 'number' && part < inner.items.length) {
        key = undefined;
        node = inner.items[part];
      } else {
        return { key, node, depth };
      }
    }
    return { key, node, depth: path.length };
  };
  return {
    value,
    position(path, at = 'value') {
      const { key, node, depth } = find(path);
      // What is missing is missing from the thing named by the key above.
      const wanted = at === 'key' || depth < path.length ? [key, node] : [node, key];
      return place(rangeStart(wanted[0]) ?? rangeStart(wanted[1]) ?? 0);
    },
    has: (path) => find(path).depth === path.length,
  };
}

/** Of keys that stand twice the last one gives the value. */
function lastPair(map: YAMLMap, name: string): Pair | undefined {
  return map.items.findLast((pair) => keyOf(pair) === name);
}

function keyOf(pair: Pair): string {
  if (isScalar(pair.key)) return pair.key.value === null ? '' : String(pair.key.value);
  return String(pair.key);
}

function rangeStart(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined;
}
