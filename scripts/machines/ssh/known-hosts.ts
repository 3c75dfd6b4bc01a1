import type { Executor } from '../../exec/executor.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';

/** Types that a machine may be known by, the one that is asked for first at the front. */
const TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];

/**
 * The host key that the user's own known_hosts has for a host, as a public key line; undefined where it has none. Asks
 * ssh-keygen, which knows hashed names too (ssh-keygen(1), -F). `file` is another one than the user's.
 */
export async function knownHostKey(
  local: Executor,
  { host, port }: { readonly host: string; readonly port: number },
  file?: string,
): Promise<string | undefined> {
  const name = port === 22 ? host : `[${host}]:${port}`;
  const options = { okCodes: [0, 1, 255], timeoutMs: TIMEOUTS.command };
  const { stdout } = await local.run(
    ['ssh-keygen', '-F', name, ...(file === undefined ? [] : ['-f', file])],
    options,
  );
  const keys = stdout.split('\n').flatMap((line) => {
    const words = line.split(' ');
    // A mark such as @revoked or @cert-authority is no key to trust.
    if (line.startsWith('#') || line.startsWith('@') || words.length < 3) return [];
    return [words.slice(1, 3)];
  });
  const type = TYPES.find((each) => keys.some(([is]) => is === each));
  return keys.find(([is]) => is === type)?.join(' ');
}
