import { CommanderError } from 'commander';
import pc from 'picocolors';
import { EXIT, type ExitCode, LabError, messageOf } from '../shared/errors.ts';

/** What a thrown thing means to the caller of the command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof LabError) return error.exitCode;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.pass : EXIT.userMustAct;
  return EXIT.bug;
}

/** The lines to print for an error: what failed, details, next command; a stack only for bugs of the lab itself. */
export function errorLines(error: unknown): readonly string[] {
  if (error instanceof LabError) {
    return [
      `${pc.red('error:')} ${error.message}`,
      ...error.details.map((line) => `  ${line}`),
      ...(error.next === undefined ? [] : [`${pc.bold('next:')}  ${error.next}`]),
    ];
  }
  return [
    `${pc.red('error:')} This is a bug in the lab: ${messageOf(error)}`,
    ...(error instanceof Error && error.stack ? error.stack.split('\n').slice(1, 8) : []),
    `${pc.bold('next:')}  report it with the lines above and the output of  npx lab logs`,
  ];
}
