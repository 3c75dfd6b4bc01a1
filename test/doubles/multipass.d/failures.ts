/** Exit codes of the client (include/multipass/cli/return_codes.h). */
export const RC = {
  ok: 0,
  commandLine: 1,
  commandFail: 2,
  daemonFail: 3,
  retry: 4,
  timeout: 5,
  shell: 255,
} as const;

/** The end of a command: an exit code, and what it says on standard error. */
export class Failure extends Error {
  readonly code: number;
  readonly text: string;

  constructor(code: number, text: string) {
    super(text);
    this.code = code;
    this.text = text;
  }
}

/** What the daemon refuses; the client puts the command's name before it. */
export class Refusal extends Error {
  readonly details: string;

  constructor(message: string, details = '') {
    super(message);
    this.details = details;
  }
}

/** A command line that the client itself refuses: one whole line, exit code 1. */
export function usage(text: string): Failure {
  return new Failure(RC.commandLine, `${text}\n`);
}

/** A refusal as the client prints it (src/client/common/client_common.cpp). */
export function failed(command: string, { message, details }: Refusal): Failure {
  return new Failure(
    RC.commandFail,
    `${command} failed: ${message}\n${details === '' ? '' : `${details}\n`}`,
  );
}

/** A line of the client's own log: "[time] [error] [category] message". */
export function logLine(category: string, message: string): string {
  return `[${new Date().toISOString().slice(0, -1)}] [error] [${category}] ${message}\n`;
}

/** An exception that nobody catches in the client. */
export function unhandled(what: string): Failure {
  return new Failure(RC.commandLine, logLine('client', `Caught an unhandled exception: ${what}`));
}
