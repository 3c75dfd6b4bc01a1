import type { Given, OptionSpec } from '../arguments.ts';
import { failed, Refusal } from '../failures.ts';
import type { Call } from '../io.ts';

/** A command of the client. `run` returns its exit code, or throws a Failure, or the daemon's Refusal. */
export interface Command {
  readonly names: readonly string[];
  readonly summary: string;
  readonly synopsis: string;
  readonly options: readonly OptionSpec[];
  run(call: Call, given: Given): Promise<number>;
}

/** Runs part of a command under the command's name, so that the daemon's refusal is printed with it. */
export async function as<T>(command: string, work: () => Promise<T>): Promise<T> {
  return work().catch((error: unknown) => {
    throw error instanceof Refusal ? failed(command, error) : error;
  });
}

export const FORMAT: OptionSpec = { names: ['format'], value: true };
export const TIMEOUT: OptionSpec = { names: ['timeout'], value: true };
export const ALL: OptionSpec = { names: ['all'] };
