/** Where an action runs: a machine by name, or the lab's kubectl. */
export interface Action {
  readonly on: string;
  readonly argv: readonly string[];
}

/** The `on` of actions that kubectl runs; argv then lacks the program. */
export const KUBECTL = 'kubectl';

/** An action that is repeated until its output matches. */
export interface Condition extends Action {
  readonly what: string;
  readonly until: RegExp;
}

/** One cell or check that a fault must turn red, and what it must say. */
export interface ExpectedRed {
  readonly kind: 'cell' | 'check';
  /** Of the id; `*` stands for anything. */
  readonly id: string;
  readonly verdict: 'failed' | 'harness' | 'blocked';
  /** What the verdict's text must match. */
  readonly sentence: RegExp;
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
  readonly standing?: Action & Pick<Condition, 'until'>;
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

/** The comment of every rule and the prefix of every name that a selftest makes on a machine. */
export const MARK = 'lab-selftest';
