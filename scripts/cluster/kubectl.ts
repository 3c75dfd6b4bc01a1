import { dirname, join } from 'node:path';
import type { Executor, RunOptions, RunResult } from '../exec/executor.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';

/** What kubectl on this host needs for the lab's API server, whatever the user's own kubeconfig says. */
export interface KubectlAccess {
  readonly binary: string;
  readonly kubeconfig: string;
  /** Where the API server answers, if not where the kubeconfig says: a forward to it. */
  readonly via?: {
    /** On this host's loopback. */
    readonly port: number;
    /** The name that its certificate is for. */
    readonly serverName: string;
  };
}

/** kubectl on this host against the lab's API server, and nothing else: its own binary, its own kubeconfig. */
export interface Kubectl {
  readonly access: KubectlAccess;
  /** Runs kubectl. */
  run(args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Runs kubectl with `-o json` and returns the parsed answer. */
  json<T>(args: readonly string[], options?: RunOptions): Promise<T>;
}

/**
 * The beginning of every kubectl command against the lab. What it learns of the API server lies beside the kubeconfig and
 * goes with the lab: in ~/.kube/cache it would be taken for that of the next lab's, which has the same address.
 */
export function kubectlCommand({ binary, kubeconfig, via }: KubectlAccess): readonly string[] {
  const forward =
    via === undefined
      ? []
      : ['--server', `https://127.0.0.1:${via.port}`, '--tls-server-name', via.serverName];
  const cache = join(dirname(kubeconfig), 'kubectl-cache');
  return [binary, '--kubeconfig', kubeconfig, '--cache-dir', cache, ...forward];
}

/** A kubectl bound to one cluster. */
export function kubectlWith(local: Executor, access: KubectlAccess): Kubectl {
  const run = async (args: readonly string[], options: RunOptions = {}) => {
    const argv = [...kubectlCommand(access), '--request-timeout', `${TIMEOUTS.request / 1000}s`, ...args];
    return local.run(argv, { timeoutMs: TIMEOUTS.command, ...options });
  };
  return {
    access,
    run,
    json: async <T>(args: readonly string[], options?: RunOptions) =>
      JSON.parse((await run([...args, '-o', 'json'], options)).stdout) as T,
  };
}
