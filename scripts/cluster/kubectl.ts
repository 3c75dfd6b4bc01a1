import { dirname, join } from 'node:path';
import type { Executor, RunOptions, RunResult } from '../exec/executor.ts';
import { TIMEOUTS } from '../shared/timeouts.ts';
import { type ApiAnswer, type ApiQuestion, type ApiReader, answerTo, questionOf } from './api-question.ts';

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
  /** GET of a path without a process of kubectl, in the form that `accept` names; undefined where no answer comes. */
  ask?(path: string, accept?: string): Promise<ApiAnswer | undefined>;
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

/** How long the API server may be silent before kubectl is asked, in milliseconds. */
const DIRECT_TIMEOUT_MS = 5_000;

/**
 * A kubectl bound to one cluster. With `connect` plain questions go to the API server over a connection that is kept: a
 * process of kubectl takes as much processor time as ten of them. What goes wrong there is asked of kubectl, which says it
 * in its own words.
 */
export function kubectlWith(
  local: Executor,
  access: KubectlAccess,
  connect?: (access: KubectlAccess) => Promise<ApiReader>,
): Kubectl {
  let reader: Promise<ApiReader> | undefined;
  const direct = async <T>(
    args: readonly string[],
    { signal, timeoutMs = DIRECT_TIMEOUT_MS }: RunOptions,
    use: (question: ApiQuestion, ask: (path: string, accept?: string) => Promise<ApiAnswer>) => Promise<T>,
  ): Promise<T | undefined> => {
    const question = connect === undefined ? undefined : questionOf(args);
    if (connect === undefined || question === undefined) return undefined;
    try {
      reader ??= connect(access);
      const read = await reader;
      const within = Math.min(timeoutMs, DIRECT_TIMEOUT_MS);
      return await use(question, (path, accept) => read(path, within, signal, accept));
    } catch {
      reader = undefined;
      return undefined;
    }
  };
  const run = async (args: readonly string[], options: RunOptions = {}): Promise<RunResult> => {
    const said = await direct(args, options, async (question, ask) => {
      if (!('raw' in question)) {
        const answer = await answerTo(question, ask);
        return { exitCode: 0, stdout: answer === undefined ? '' : JSON.stringify(answer), stderr: '' };
      }
      const { status, text } = await ask(question.raw);
      // There is no such thing, or it cannot have what was asked for, as the log of a container that has not started.
      if ([400, 404].includes(status) && options.okCodes?.includes(1))
        return { exitCode: 1, stdout: '', stderr: text };
      if (status !== 200) throw new Error(`status ${status}`);
      return { exitCode: 0, stdout: text, stderr: '' };
    });
    if (said !== undefined) return said;
    const argv = [...kubectlCommand(access), '--request-timeout', `${TIMEOUTS.request / 1000}s`, ...args];
    return local.run(argv, { timeoutMs: TIMEOUTS.command, ...options });
  };
  return {
    access,
    run,
    ...(connect !== undefined && {
      ask: (path: string, accept?: string) =>
        direct(['get', '--raw', path], {}, (_, ask) => ask(path, accept)),
    }),
    json: async <T>(args: readonly string[], options: RunOptions = {}) => {
      const wanted = [...args, '-o', 'json'];
      const answer = await direct(wanted, options, (question, ask) =>
        'raw' in question ? Promise.reject(new Error('no list')) : answerTo(question, ask),
      );
      return (answer ?? JSON.parse((await run(wanted, options)).stdout)) as T;
    },
  };
}
