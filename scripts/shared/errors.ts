/** Exit codes of every command. `stdout` is data, `stderr` is progress. */
export const EXIT = {
  pass: 0,
  wrong: 1,
  userMustAct: 2,
  strict: 3,
  harness: 4,
  bug: 70,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What a LabError may carry besides its message. */
export interface LabErrorDetails {
  /** Lines under the message: what was seen, where, the tail of a log. */
  readonly details?: readonly string[];
  /** What to do next, ideally the exact command. */
  readonly next?: string;
  readonly cause?: unknown;
}

/** An error that the lab understands: what failed, details, and the next command. Printed once, by cli/. */
export class LabError extends Error {
  readonly exitCode: ExitCode;
  readonly details: readonly string[];
  readonly next: string | undefined;

  constructor(exitCode: ExitCode, message: string, extra: LabErrorDetails = {}) {
    super(message, extra.cause === undefined ? undefined : { cause: extra.cause });
    this.name = new.target.name;
    this.exitCode = exitCode;
    this.details = extra.details ?? [];
    this.next = extra.next;
  }
}

/** The user must act: a wrong spec, a missing tool, a missing permission. Exit 2; nothing was changed. */
export class UserError extends LabError {
  constructor(message: string, extra: LabErrorDetails = {}) {
    super(EXIT.userMustAct, message, extra);
  }
}

/** The lab itself is wrong: a machine, session or workload did not become what the plan says. Exit 1. */
export class LabFailure extends LabError {
  constructor(message: string, extra: LabErrorDetails = {}) {
    super(EXIT.wrong, message, extra);
  }
}

/** A test could not be carried out, so nothing is known about the lab. Exit 4. */
export class HarnessError extends LabError {
  constructor(message: string, extra: LabErrorDetails = {}) {
    super(EXIT.harness, message, extra);
  }
}

/** The user interrupted (SIGINT, SIGTERM). Exit 130. */
export class Interrupted extends LabError {
  constructor(next?: string) {
    super(EXIT.interrupted, 'Interrupted.', next === undefined ? {} : { next });
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The details of anything that was thrown: what a program itself said is among them. */
export function detailsOf(error: unknown): readonly string[] {
  return error instanceof LabError ? error.details : [];
}

/** Ends what catches errors to go on: the user's interruption is never one of them. */
export function rethrowIfInterrupted(error: unknown): void {
  if (error instanceof Interrupted) throw error;
}
