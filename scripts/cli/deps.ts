import { createInterface } from 'node:readline';
import type { Deps } from '../commands/deps.ts';
import { LabState } from '../commands/state.ts';
import type { Executor } from '../exec/executor.ts';
import { localExecutor, runInteractive } from '../exec/local.ts';
import type { MachineDriver } from '../machines/driver.ts';
import { Interrupted } from '../shared/errors.ts';
import type { DriverName } from '../spec/types.ts';
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

/** The effects of a real run. `quiet` (for --json) shows no steps. */
export function realDeps(terminal: Terminal, quiet: boolean): Deps {
  const { cwd, env, signal } = terminal;
  const local = localExecutor(signal);
  const cacheDir = async () => (await import('../artifacts/cache.ts')).cacheFolder(env);
  return {
    cwd,
    env,
    local,
    interactive: runInteractive,
    host: {
      facts: async (plan, ours) => {
        const { gatherHostFacts } = await import('../machines/host-facts.ts');
        const state = new LabState(cwd, plan.lab).dir;
        return gatherHostFacts(local, { cache: await cacheDir(), state }, plan, ours);
      },
      missingPackages: async (work) => (await import('../machines/packages.ts')).missingPackages(local, work),
      daemonInstalled: async () => (await import('../machines/incus/daemon.ts')).daemonInstalled(),
    },
    driver: (name) => drivers(local)[name](),
    artifacts: async (choice) =>
      (await import('../commands/artifact-sources.ts')).artifactSource(choice, local, await cacheDir()),
    apiReader: async (access) => (await import('../cluster/api-reader.ts')).apiReader(access),
    connect: async (...to) => (await import('../exec/ssh.ts')).connectSsh(...to),
    signal,
    ...display(terminal, quiet),
  };
}

function drivers(local: Executor): Readonly<Record<DriverName, () => Promise<MachineDriver>>> {
  return {
    incus: async () => (await import('../machines/incus/driver.ts')).incusDriver(local),
    ssh: async () => (await import('../machines/ssh/driver.ts')).sshDriver(local),
    multipass: async () => (await import('../machines/multipass/driver.ts')).multipassDriver(local),
  };
}

/** How a command shows its steps, says something and asks: a live list on a terminal, else plain lines. */
export function display(terminal: Terminal, quiet: boolean): Pick<Deps, 'runSteps' | 'ask' | 'say'> {
  const { env, stdin, stderr } = terminal;
  const say = (line: string) => stderr.write(`${line}\n`);
  return {
    runSteps: async (steps) => {
      if (quiet) return plainSteps(steps, () => {});
      if (!stderr.isTTY || env.CI !== undefined) return plainSteps(steps, say);
      return (await import('./live-steps.ts')).liveSteps(steps, stderr);
    },
    ask: stdin.isTTY && stderr.isTTY && !quiet ? (question) => ask(question, terminal) : undefined,
    say,
  };
}

// While readline reads a terminal, Ctrl-C is a key and no signal, and Ctrl-D the end: both are answers.
function ask(question: string, { stdin, stderr, signal }: Terminal): Promise<boolean> {
  const lines = createInterface({ input: stdin, output: stderr });
  return new Promise<boolean>((resolve, reject) => {
    lines.on('SIGINT', () => reject(new Interrupted()));
    signal.addEventListener('abort', () => reject(new Interrupted()), { once: true });
    lines.on('close', () => resolve(false));
    lines.question(`${question} [y/N] `, (answer) => resolve(/^y(es)?$/i.test(answer.trim())));
  }).finally(() => lines.close());
}
