import { z } from 'zod';
import { completeSpec, DEFAULTS } from './defaults.ts';
import { type Complaint, type PathPart, show } from './problems.ts';
import { labSchema, SPEC_VERSION } from './schema.ts';
import { suggest } from './suggest.ts';

/** The default lab, for examples of correct lines. */
const DEFAULT_LAB = completeSpec(DEFAULTS);

/** The schema of what is meant, without its default. */
function bare(schema: unknown): unknown {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
    ? bare(schema.unwrap())
    : schema;
}

/** The keys of a map with their schemas, also those of the maps that a list holds. */
function shapeOf(schema: unknown): Readonly<Record<string, unknown>> {
  const meant = bare(schema);
  if (meant instanceof z.ZodArray) return shapeOf(meant.element);
  return meant instanceof z.ZodObject ? meant.shape : {};
}

function schemaAt(path: readonly PathPart[]): unknown {
  // An index leads to the same keys as its list.
  return path
    .filter((part) => typeof part === 'string')
    .reduce<unknown>((schema, key) => shapeOf(schema)[key], labSchema);
}

/** The map nearest to the top that has a key, as it is written: "" is the document itself. */
function ownerOf(key: string): string | undefined {
  const maps: { readonly path: string; readonly schema: unknown }[] = [{ path: '', schema: labSchema }];
  for (const { path, schema } of maps) {
    const shape = shapeOf(schema);
    if (Object.hasOwn(shape, key)) return path;
    for (const [name, inner] of Object.entries(shape))
      maps.push({ path: path === '' ? name : `${path}.${name}`, schema: inner });
  }
  return undefined;
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  array: 'a list',
};

/** What zod found, in the words of this project: one complaint per unknown key or wrong value. */
export function explainIssues(issues: readonly z.core.$ZodIssue[], value: unknown): Complaint[] {
  return issues.flatMap((issue) => explain(issue, value));
}

function explain(issue: z.core.$ZodIssue, document: unknown): Complaint[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const found = valueAt(document, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(path, key));
    case 'invalid_type':
      return [wrongType(path, found, issue.expected)];
    case 'invalid_value':
      return [wrongChoice(path, found, issue.values.map(String))];
    case 'too_big':
      return typeof found === 'number'
        ? [{ path, message: `must be ${issue.maximum} at most, not ${found}`, hint: example(path) }]
        : [{ path, message: `has too many entries, ${issue.maximum} at most`, hint: 'remove some' }];
    case 'custom':
      return [{ path, message: issue.message, hint: hintOf(issue.params) ?? example(path) }];
    case 'too_small':
      if (typeof found === 'number')
        return [{ path, message: `must be ${issue.minimum} at least, not ${found}`, hint: example(path) }];
  }
  return [{ path, message: issue.message, hint: example(path) }];
}

function unknownKey(parent: readonly PathPart[], key: string): Complaint {
  const path = [...parent, key];
  const here = Object.keys(shapeOf(schemaAt(parent)));
  const near = suggest(key, here);
  const elsewhere = ownerOf(key);
  let hint = `remove it, or use one of: ${here.join(', ')}`;
  if (near !== undefined) hint = `did you mean "${near}"?`;
  else if (elsewhere !== undefined)
    hint = elsewhere === '' ? 'move it to the top level' : `move it under "${elsewhere}"`;
  return { path, at: 'key', message: 'unknown key', hint };
}

function wrongType(path: readonly PathPart[], found: unknown, expected: string): Complaint {
  const hint = example(path);
  if (found === undefined) return { path, message: 'is missing', hint: hint.replace('write', 'add') };
  const what = typeof path.at(-1) === 'number' ? 'entry' : 'key';
  if (found === null)
    return { path, at: 'key', message: 'has no value', hint: `${hint}, or remove the ${what}` };
  const kind = KINDS[expected] ?? expected;
  const quoted = typeof found === 'string' ? 'the text ' : '';
  const message = `must be ${kind}, not ${quoted}${show(found)}`;
  if (expected === 'number' && typeof found === 'string' && /^\d+$/.test(found)) {
    return { path, message, hint: `remove the quotes: ${found}` };
  }
  return { path, message, hint };
}

function wrongChoice(path: readonly PathPart[], found: unknown, values: readonly string[]): Complaint {
  if (found === undefined) return wrongType(path, found, 'string');
  if (path[0] === 'version') {
    return {
      path,
      message: `version ${show(found)} is unknown; this release reads version ${SPEC_VERSION}`,
      hint: `write version: ${SPEC_VERSION}, or use the release that this file was written for`,
    };
  }
  const near = typeof found === 'string' ? suggest(found, values) : undefined;
  return {
    path,
    message: `must be one of ${values.join(', ')}, not ${show(found)}`,
    hint: near === undefined ? `write for example ${values[0]}` : `did you mean "${near}"?`,
  };
}

/** How to write it right: as in the default lab, else what it means. */
function example(path: readonly PathPart[]): string {
  const last = path.at(-1);
  const value = exampleAt(path);
  if (value !== undefined)
    return typeof last === 'string'
      ? `write for example "${last}: ${inFlow(value)}"`
      : `write ${inFlow(value)} or the like`;
  const schema = schemaAt(path);
  const meaning = schema instanceof z.ZodType ? schema.description : undefined;
  return meaning === undefined ? 'see lab.yaml of this release' : `write "${last}": ${meaning}`;
}

function exampleAt([first, index, ...rest]: readonly PathPart[]): unknown {
  if (first === undefined) return undefined;
  if (first !== 'machines' || index === undefined)
    return valueAt(DEFAULT_LAB, [first, ...(index === undefined ? [] : [index]), ...rest].map(firstEntry));
  const [controlPlane, ...others] = DEFAULT_LAB.machines;
  const values = [...others, controlPlane].map((machine) => valueAt(machine, rest));
  return values.find((value) => value !== undefined && value !== false);
}

function firstEntry(part: PathPart): PathPart {
  return typeof part === 'number' ? 0 : part;
}

/** A value on one line: of a list the first entry, of a section its first key. */
function inFlow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.slice(0, 1).map(inFlow).join()}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  const entries = Object.entries(value).slice(0, 'role' in value ? undefined : 1);
  return `{ ${entries.map(([key, inner]) => `${key}: ${inFlow(inner)}`).join(', ')} }`;
}

function hintOf(params: Record<string, unknown> | undefined): string | undefined {
  const hint = params?.hint;
  return typeof hint === 'string' ? hint : undefined;
}

/** The value at a path, undefined where there is none. */
export function valueAt(document: unknown, path: readonly PathPart[]): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    return Object.entries(value).find(([key]) => key === String(part))?.[1];
  }, document);
}
