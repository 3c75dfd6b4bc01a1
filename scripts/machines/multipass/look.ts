import { z } from 'zod';
import { CommandError } from '../../exec/command-error.ts';
import type { Executor } from '../../exec/executor.ts';
import type { MultipassFact } from '../../plan/host-facts.ts';

/** multipassd answers one request after the other, and some take long. In milliseconds. */
const ANSWER_TIMEOUT_MS = 20_000;

const versionSchema = z.looseObject({ multipass: z.string(), multipassd: z.string().optional() });

/**
 * What there is of Multipass. `version` also succeeds without a daemon and then leaves "multipassd" out; a setting can
 * only be read where the daemon runs and knows the user, and the refusal says which of the two is wrong.
 */
export async function lookAtMultipass(local: Executor): Promise<MultipassFact> {
  const asked = await ask(local, ['multipass', 'version', '--format', 'json']);
  if (asked.stdout === undefined) return asked.isThere ? { refusal: asked.refusal } : {};
  const version = versionSchema.safeParse(parse(asked.stdout));
  if (!version.success)
    return { refusal: 'multipass version did not answer with the JSON that it is known for' };
  const { multipass: client, multipassd: daemon } = version.data;
  const driver = await ask(local, ['multipass', 'get', 'local.driver']);
  return {
    client,
    ...(daemon === undefined ? {} : { daemon }),
    ...(driver.stdout === undefined ? { refusal: driver.refusal } : { driver: driver.stdout.trim() }),
  };
}

/** Where Multipass keeps its machines, as far as it is known. */
export function multipassFolder(platform: string): string {
  return platform === 'darwin' ? '/var/root' : '/var/snap/multipass/common/data/multipassd';
}

type Answer =
  | { readonly stdout: string }
  | { readonly stdout?: undefined; readonly refusal: string; readonly isThere: boolean };

async function ask(local: Executor, argv: readonly string[]): Promise<Answer> {
  try {
    return { stdout: (await local.run(argv, { timeoutMs: ANSWER_TIMEOUT_MS })).stdout };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const { exitCode, stderr, how } = error.outcome;
    const [said] = stderr.split('\n').filter((line) => line.trim() !== '');
    // 127 is the shell's: there is no such program.
    return {
      refusal: said?.replace(/^\w+ failed: /, '') ?? how ?? `exit code ${exitCode}`,
      isThere: exitCode !== 127,
    };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
