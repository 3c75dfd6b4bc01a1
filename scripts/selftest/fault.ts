import type { Check } from '../bgp/checks/check.ts';
import type { Difference, Finding } from '../matrix/findings.ts';
import type { Outcome } from '../matrix/types.ts';

/** Where an action runs: a machine by name, or the lab's kubectl. */
export interface Action {
  readonly on: string;
  readonly argv: readonly string[];
  /** Its standard input. */
  readonly input?: string;
}

/** The `on` of actions that kubectl runs; argv then lacks the program. */
export const KUBECTL = 'kubectl';

/** An action that is repeated until its output matches, or until the machine is out of reach. */
export interface Condition extends Action {
  readonly what: string;
  readonly until: RegExp | 'unreachable';
}

/**
 * What a finding must hold: each key that is named, each item of a list somewhere in the list. A regular expression is for
 * the words of other programs only; what labtest finds is a code.
 */
export type Pattern =
  | string
  | number
  | null
  | RegExp
  | readonly Pattern[]
  | { readonly [key: string]: Pattern | undefined };

/** One cell or check that a fault must turn red, and what it must say. */
export type ExpectedRed = ExpectedCell | ExpectedCheck;

interface Expected {
  /** Of the id; `*` stands for anything. */
  readonly id: string;
  readonly verdict: 'failed' | 'harness' | 'blocked';
}

interface ExpectedCell extends Expected {
  readonly kind: 'cell';
  readonly outcome?: Outcome;
  readonly finding: { readonly reason: Finding['reason']; readonly [key: string]: Pattern };
  /** What was seen when it was tried again. */
  readonly difference?: { readonly reason: Difference['reason']; readonly [key: string]: Pattern };
}

interface ExpectedCheck extends Expected {
  readonly kind: 'check';
  readonly reason: Check['reason'];
  readonly wanted?: Pattern;
  readonly seen?: Pattern;
  readonly blockedBy?: string;
}

/** A known fault as data: how it is made, how it is undone, and what labtest must say about it. */
export interface Fault {
  readonly id: string;
  readonly title: string;
  /** `during`: after the state was read and before the probes start. */
  readonly moment: 'before' | 'during';
  readonly inject: readonly Action[];
  /** Right at any time: also where nothing was injected, and twice. */
  readonly revert: readonly Action[];
  /** When the fault has come to effect, in order. */
  readonly effective?: readonly Condition[];
  /** What prints something that matches while the fault is there, where its owner may put it right at any time. */
  readonly stillThere?: Action & { readonly until: RegExp };
  /** Ids of the cells that are tried: those that must turn red, and some that must not. */
  readonly cells: readonly string[];
  readonly expect: readonly ExpectedRed[];
  /** What else may turn red with it, in the form of ids. */
  readonly alsoRed: readonly string[];
}

/** A fault that this lab is too small for. */
export interface InapplicableFault {
  readonly id: string;
  readonly title: string;
  readonly skipped: string;
}

/** A fault without its name, or why this lab is too small for it. It is made before the state is read unless it says so. */
export type Made = Omit<Fault, 'id' | 'title' | 'moment' | 'alsoRed'> &
  Partial<Pick<Fault, 'moment' | 'alsoRed'>>;
export type Fitted = Made | Pick<InapplicableFault, 'skipped'>;

/** One fault of the catalogue. */
export function named(id: string, title: string, made: Fitted): Fault | InapplicableFault {
  return 'skipped' in made ? { id, title, ...made } : { id, title, moment: 'before', alsoRed: [], ...made };
}

/** A cell that must fail, and what it must say. */
export function failedCell(
  id: string,
  says: Pick<ExpectedCell, 'outcome' | 'finding' | 'difference'>,
): ExpectedRed {
  return { kind: 'cell', id, verdict: 'failed', ...says };
}

/** A check that must fail, and what it must say. */
export function failedCheck(
  id: string,
  says: Pick<ExpectedCheck, 'reason' | 'wanted' | 'seen'>,
): ExpectedRed {
  return { kind: 'check', id, verdict: 'failed', ...says };
}

/** The comment of every rule and the prefix of every name that a selftest makes on a machine. */
export const MARK = 'lab-selftest';
