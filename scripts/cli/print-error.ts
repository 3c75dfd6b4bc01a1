import { CommanderError } from 'commander';
import { EXIT, type ExitCode, LabError, messageOf } from '../shared/errors.ts';
import { colors } from './colors.ts';

const REPORT_IT = 'report it with the lines above and the output of  npx lab logs';

const CODE_NAMES: Readonly<Record<ExitCode, string>> = {
  [EXIT.pass]: 'pass',
  [EXIT.wrong]: 'wrong',
  [EXIT.userMustAct]: 'user-must-act',
  [EXIT.strict]: 'strict',
  [EXIT.harness]: 'harness',
  [EXIT.bug]: 'bug',
  [EXIT.interrupted]: 'interrupted',
};

/** What a thrown thing means to the caller of the command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof LabError) return error.exitCode;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.pass : EXIT.userMustAct;
  return EXIT.bug;
}

/** An error as the one document that --json prints; `code` is the exit code in words. */
export function errorDocument(error: unknown): unknown {
  const exitCode = exitCodeOf(error);
  const code = CODE_NAMES[exitCode];
  if (error instanceof LabError) {
    const { message, details, next } = error;
    return { schemaVersion: 1, error: { code, message, details, next: next ?? null } };
  }
  const isUsage = error instanceof CommanderError;
  return {
    schemaVersion: 1,
    error: {
      code,
      message: messageOf(error).replace(/^error: /, ''),
      details: isUsage ? [] : stackOf(error),
      next: isUsage ? '--help shows the options' : REPORT_IT,
    },
  };
}

/** The lines to print for an error: what failed, details, next command; a stack only for bugs of the lab itself. */
export function errorLines(error: unknown): readonly string[] {
  if (error instanceof LabError) {
    return [
      `${colors.red('error:')} ${error.message}`,
      ...error.details.map((line) => `  ${line}`),
      ...(error.next === undefined ? [] : [`${colors.bold('next:')}  ${error.next}`]),
    ];
  }
  return [
    `${colors.red('error:')} This is a bug in the lab: ${messageOf(error)}`,
    ...stackOf(error),
    `${colors.bold('next:')}  ${REPORT_IT}`,
  ];
}

function stackOf(error: unknown): readonly string[] {
  return error instanceof Error && error.stack ? error.stack.split('\n').slice(1, 8) : [];
}
