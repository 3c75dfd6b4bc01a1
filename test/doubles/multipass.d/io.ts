import type { Readable } from 'node:stream';
import type { BackgroundProcess } from '../../../scripts/exec/local.ts';
import type { Knobs } from './knobs.ts';

/** What a call of the double has around it; tests put their own. */
export interface Io {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Standard input, opened by who reads from it. */
  stdin(): Readable;
  /** What kind of thing standard input is: a snap cannot read an inherited file. */
  readonly stdinIs: 'terminal' | 'file' | 'pipe';
  readonly stdoutIsTerminal: boolean;
  out(chunk: string | Uint8Array): void;
  err(chunk: string | Uint8Array): void;
  /** Runs a job of the daemon so that it goes on when this call ends. */
  background(jobFolder: string): Promise<BackgroundProcess>;
}

/** A call: its surroundings, its knobs and its state folder. */
export interface Call extends Io {
  readonly knobs: Knobs;
  readonly folder: string;
}

/** All of standard input, up to its end. */
export async function readAll(stdin: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks);
}
