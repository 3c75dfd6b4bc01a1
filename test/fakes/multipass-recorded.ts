import { readFileSync } from 'node:fs';
import { assetPath } from '../../scripts/shared/files.ts';

/** A call of a real Multipass, and what it came to. */
export interface Recorded {
  readonly label: string;
  readonly argv: readonly string[];
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const FILE = assetPath('test', 'transcripts', 'multipass', 'calls.jsonl');

/** All calls that were recorded (test/transcripts/README.md), in order. */
export const RECORDED: readonly Recorded[] = readFileSync(FILE, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

/** The call of that label, as the answer of a program. */
export function recorded(label: string): {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
} {
  const found = RECORDED.find((each) => each.label === label);
  if (found === undefined) throw new Error(`no recorded call is labelled ${label}`);
  return { exitCode: found.exit, stdout: found.stdout, stderr: found.stderr };
}
