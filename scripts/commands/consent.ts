import { UserError } from '../shared/errors.ts';
import type { Deps } from './deps.ts';

/**
 * Gets leave for what changes the host itself. With --yes it is given; on a terminal it is asked for; otherwise the
 * command stops with exit 2 and says what it would have done.
 */
export async function requireConsent(
  deps: Pick<Deps, 'ask' | 'say'>,
  yes: boolean,
  would: readonly string[],
  command: string,
): Promise<void> {
  if (yes || would.length === 0) return;
  if (deps.ask !== undefined) {
    for (const line of would) deps.say(`  ${line}`);
    if (await deps.ask('Go ahead?')) return;
    throw new UserError('Stopped: nothing was changed.', { next: `${command} --yes` });
  }
  throw new UserError('This needs your consent, and there is no terminal to ask on. Nothing was changed.', {
    details: would.map((line) => `would ${line}`),
    next: `${command} --yes`,
  });
}
