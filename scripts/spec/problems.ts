import { UserError } from '../shared/errors.ts';

/** One thing that is wrong in a spec file, at a place that an editor can jump to. */
export interface Problem {
  /** The file as the user named it. */
  readonly file: string;
  /** 1-based; 0 where the file as a whole is meant (missing, unreadable, too large). */
  readonly line: number;
  /** 1-based, in UTF-16 units as editors count; 0 together with line 0. */
  readonly column: number;
  /** Where in the document, e.g. "machines[1].address"; empty for the document itself. */
  readonly path: string;
  /** The reason. */
  readonly message: string;
  /** The fix. */
  readonly hint: string;
}

/** A key or list index on the way from the document's root to a value. */
export type PathPart = string | number;

/** A complaint before its place in the file is known. */
export interface Complaint {
  readonly path: readonly PathPart[];
  /** Whether the key or the value is at fault; default "value". */
  readonly at?: 'key' | 'value';
  readonly message: string;
  readonly hint: string;
}

/** A spec that cannot be used, with every problem found. Exit 2. */
export class SpecError extends UserError {
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], next?: string) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    super(`${file} has ${count}.`, {
      details: problems.map(formatProblem),
      next: next ?? `Correct ${file}, then run the command again: nothing was changed.`,
    });
    this.problems = problems;
  }
}

/** One problem as one line: `lab.yaml:12:5  machines[1].address: reason  (fix: what to do)`. */
export function formatProblem(problem: Problem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`;
  const subject = problem.path === '' ? '' : `${problem.path}: `;
  return `${place}  ${subject}${problem.message}  (fix: ${problem.hint})`;
}

/** Problems in the order of the file: by line, then column; stable for equal places. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** A path as users write it, e.g. "machines[1].address". Odd keys are quoted, so control characters stay visible. */
export function formatPath(path: readonly PathPart[]): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[A-Za-z_][\w-]*$/.test(part)) return `[${show(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

const SHOWN_LENGTH = 60;

/** A value for a message: quoted where it is text, control characters escaped, long ones cut. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  if (typeof value !== 'string') return String(value);
  const cut = value.length > SHOWN_LENGTH ? `${value.slice(0, SHOWN_LENGTH)}...` : value;
  return JSON.stringify(cut).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escapeCharacter);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
