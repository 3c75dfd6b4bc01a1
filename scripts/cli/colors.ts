import pc from 'picocolors';

/**
 * Whether output may hold colour codes: on a terminal, unless NO_COLOR is set (https://no-color.org). picocolors by
 * itself also colours whenever CI is set, which would put codes into logs and pipes.
 */
export function colorWanted(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0';
  return isTerminal && env.TERM !== 'dumb';
}

const terminal = process.stdout.isTTY === true && process.stderr.isTTY === true;

/** The colours of everything that cli/ prints; plain text where they are not wanted. */
export const colors = pc.createColors(colorWanted(process.env, terminal));
