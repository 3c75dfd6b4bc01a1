import type { Executor, RunOptions, RunResult } from '../exec/executor.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/** kubectl on this host against the lab's API server, and nothing else: its own binary, its own kubeconfig. */
export interface Kubectl {
  readonly binary: string;
  readonly kubeconfig: string;
  /** Runs kubectl. */
  run(args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Runs kubectl with `-o json` and returns the parsed answer. */
  json<T>(args: readonly string[], options?: RunOptions): Promise<T>;
}

/** A kubectl bound to a kubeconfig file. */
export function kubectlWith(local: Executor, binary: string, kubeconfig: string): Kubectl {
  const run = async (args: readonly string[], options: RunOptions = {}) => {
    const argv = [binary, '--kubeconfig', kubeconfig, '--request-timeout', '20s', ...args];
    return local.run(argv, { timeoutMs: TIMEOUTS.command, ...options });
  };
  return {
    binary,
    kubeconfig,
    run,
    json: async <T>(args: readonly string[], options?: RunOptions) =>
      JSON.parse((await run([...args, '-o', 'json'], options)).stdout) as T,
  };
}
