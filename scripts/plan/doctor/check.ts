import type { DriverName } from '../../spec/types.ts';
import { type HostFacts, type HostProblem, isError } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';

export type DoctorVerdict = 'ok' | 'warning' | 'error' | 'skipped';

/** One precondition of labup, and how it is met. */
export interface DoctorCheck {
  /** Stays the same from version to version. */
  readonly id: string;
  readonly title: string;
  /** The worst of `problems`. */
  readonly verdict: DoctorVerdict;
  /** What was seen, or why the check was skipped. */
  readonly found: string;
  /** Empty unless the verdict is warning or error; each with its own cure. */
  readonly problems: readonly HostProblem[];
}

/** What a check makes of the facts: what it saw, what is wrong with that, or why there was nothing to see. */
export interface HostFinding {
  readonly found: string;
  readonly problems?: readonly HostProblem[];
  readonly skipped?: true;
}

/** A check before it is made. */
export interface Precondition {
  readonly id: string;
  readonly title: string;
  /** Drivers that it applies to; all where absent. Elsewhere it is not shown. */
  readonly drivers?: readonly DriverName[];
  /** Whether it is about Calico. With another CNI it is not shown. */
  readonly calicoOnly?: true;
  /** Whether it is about what only Linux has. Elsewhere it is not shown. */
  readonly linuxOnly?: true;
  readonly judge: (plan: LabPlan, facts: HostFacts) => HostFinding;
}

/** Makes a check. */
export function examine({ id, title, judge }: Precondition, plan: LabPlan, facts: HostFacts): DoctorCheck {
  const { found, problems = [], skipped } = judge(plan, facts);
  return { id, title, verdict: verdictOf(problems, skipped === true), found, problems };
}

function verdictOf(problems: readonly HostProblem[], skipped: boolean): DoctorVerdict {
  if (problems.some(isError)) return 'error';
  if (problems.length > 0) return 'warning';
  return skipped ? 'skipped' : 'ok';
}

/** A problem of the host that stops labup. */
export function hostFault(message: string, hint: string): HostProblem {
  return { severity: 'error', subject: 'host', message, hint };
}

/** A property of the host that labup goes on with. */
export function hostWarning(message: string, hint: string): HostProblem {
  return { severity: 'warning', subject: 'host', message, hint };
}

/** The finding of a check that stops labup. */
export function stopped(found: string, message: string, hint: string): HostFinding {
  return { found, problems: [hostFault(message, hint)] };
}

/** The finding of a check that labup goes on with. */
export function warned(found: string, message: string, hint: string): HostFinding {
  return { found, problems: [hostWarning(message, hint)] };
}

/** The finding of a check whose facts could not be looked at: a warning, because labup may still work. */
export function unseen(what: string, why: string, hint: string): HostFinding {
  return warned(`not known: ${why}`, `${what} could not be looked at: ${why}`, hint);
}

/** The finding of a check that has nothing to look at. */
export function skipped(why: string): HostFinding {
  return { found: why, skipped: true };
}

/** The leading numbers of a version: "5.21.3 LTS" is [5, 21, 3]. Empty where it does not begin with one. */
function numbersOf(version: string): readonly number[] {
  return (/^\d+(\.\d+)*/.exec(version.trim())?.[0] ?? '')
    .split('.')
    .filter((part) => part !== '')
    .map(Number);
}

/** Whether a version is the floor or later, by its leading numbers. A text without any is not. */
export function isAtLeast(version: string, floor: string): boolean {
  const seen = numbersOf(version);
  if (seen.length === 0) return false;
  for (const [index, wanted] of numbersOf(floor).entries()) {
    const part = seen[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
