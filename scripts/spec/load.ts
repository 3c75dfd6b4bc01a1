import { readFileSync, statSync } from 'node:fs';
import { messageOf } from '../shared/errors.ts';
import { completeSpec } from './defaults.ts';
import { draftOf } from './draft.ts';
import { explainIssues } from './explain.ts';
import {
  type Complaint,
  formatPath,
  type PathPart,
  type Problem,
  SpecError,
  sortProblems,
} from './problems.ts';
import { labSchema } from './schema.ts';
import { type PlacedComplaint, readSource } from './source.ts';
import type { LabSpec } from './types.ts';
import { validateDraft } from './validate.ts';

/** A spec is a page of text; a larger file is something else. */
export const SPEC_BYTES_MAX = 256 * 1024;

/** A spec that can be used, or everything that is wrong with it. */
export type CheckedSpec =
  | { readonly spec: LabSpec; readonly problems: readonly [] }
  | { readonly spec?: never; readonly problems: readonly Problem[] };

/** Reads lab.yaml. Throws SpecError (exit 2) with every problem, each with its place, reason and fix. */
export function loadSpec(path: string): LabSpec {
  return parseSpec(decode(readBytes(path), path), path);
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
