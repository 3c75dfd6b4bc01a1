import { UserError } from '../shared/errors.ts';

/** A way in which lab and host do not go together. A warning is harmless; an error stops labup before it changes anything. */
export interface HostProblem {
  readonly severity: 'error' | 'warning';
  /** The key of the spec that is concerned, or "host". */
  readonly subject: string;
  readonly message: string;
  readonly hint: string;
}

/** Whether the problem stops labup. */
export function isError(problem: HostProblem): boolean {
  return problem.severity === 'error';
}

/** One problem as one line. */
export function formatHostProblem({ subject, message, hint }: HostProblem): string {
  return `${subject}: ${message}  (fix: ${hint})`;
}

/** The UserError for the errors among the problems; undefined where there are only warnings. */
export function hostError(problems: readonly HostProblem[]): UserError | undefined {
  const errors = problems.filter(isError);
  if (errors.length === 0) return undefined;
  return new UserError('This host cannot take the lab as it is.', {
    details: errors.map(formatHostProblem),
    next: 'Fix the above, then run labup again: nothing was changed.',
  });
}
