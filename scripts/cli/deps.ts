import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { ArtifactSource, Deps } from '../commands/deps.ts';
import type { StepRunner, StepTitle } from '../commands/steps.ts';
import { localExecutor } from '../exec/local.ts';
import { connectSsh } from '../exec/ssh.ts';
import { incusDriver } from '../machines/incus/driver.ts';
import { liveSteps, type ShownSteps } from './live-steps.ts';
import { plainSteps } from './plain-steps.ts';

/** What a command may use of the process: streams, environment, folder, cancellation. */
export interface Terminal {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly signal: AbortSignal;
}

/** Real effects, and the end of whatever is being shown. */
export interface RealDeps extends Deps {
  closeDisplay(): Promise<void>;
}

/** The effects of a real run. `quiet` (for --json) shows no steps. */
export function realDeps(
  terminal: Terminal,
  quiet: boolean,
  artifacts: (cacheDir: string) => ArtifactSource,
): RealDeps {
  const { cwd, env, stdin, stderr, signal } = terminal;
  const local = localExecutor();
  const cacheDir = join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), '.cache'), 'k8s-bgp-lab');
  const say = (line: string) => stderr.write(`${line}\n`);
  const live: ShownSteps[] = [];
  const steps = (titles: readonly StepTitle[]): StepRunner => {
    if (quiet) return plainSteps(titles, () => {});
    if (!stderr.isTTY || env.CI !== undefined) return plainSteps(titles, say);
    const shown = liveSteps(titles, stderr);
    live.push(shown);
    return shown;
  };
  const ask = async (question: string): Promise<boolean> => {
    const lines = createInterface({ input: stdin, output: stderr });
    try {
      return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `, { signal })).trim());
    } finally {
      lines.close();
    }
  };
  return {
    cwd,
    env,
    local,
    driver: incusDriver(local),
    artifacts: artifacts(cacheDir),
    cacheDir,
    connect: connectSsh,
    signal,
    steps,
    ask: stdin.isTTY && stderr.isTTY && !quiet ? ask : undefined,
    say,
    closeDisplay: async () => {
      for (const shown of live) await shown.close();
    },
  };
}
