import { UserError } from '../../shared/errors.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { type Look, type WaitOptions, waitFor } from '../../shared/wait.ts';

/** Every wait of this driver, in milliseconds, and how often is looked; the rest is TIMEOUTS of shared/. */
export const PATIENCE = {
  /** Between two looks: the daemon does one thing at a time, and a look is one. */
  poll: 2_000,
  /** The daemon after its start or that of the host. */
  daemon: TIMEOUTS.daemonReady,
  /** A daemon that has just started does not know its image servers yet. */
  imageServers: 120_000,
  /** A running guest's SSH, and its address. */
  guest: TIMEOUTS.machineSsh,
  /** As long as the daemon itself waits for a shutdown or a start, and some more. */
  settle: 360_000,
  /** cloud-init with its packages, over any line. */
  cloudInit: 1_200_000,
  /** A launch of a labup that was killed, which the daemon goes on with. */
  earlierLaunch: 1_800_000,
  /** The same for labdown, which only waits for what is nearly there. */
  lateLaunch: 60_000,
};
export type Patience = Readonly<Record<keyof typeof PATIENCE, number>>;

/**
 * waitFor at the pace that suits the daemon. A UserError ends the wait at once: it does not go away by itself. What else
 * is thrown counts as "not yet".
 */
export async function waitForState<T>(
  { patience }: { readonly patience: Patience },
  options: Omit<WaitOptions<T>, 'pollMs'>,
): Promise<T> {
  const ended = await waitFor<{ readonly value: T } | { readonly refusal: UserError }>({
    ...options,
    pollMs: patience.poll,
    look: async () => {
      const seen: Look<T> | UserError = await options.look().catch((error: unknown) => {
        if (error instanceof UserError) return error;
        throw error;
      });
      if (seen instanceof UserError) return { done: true, value: { refusal: seen } };
      return seen.done ? { done: true, value: { value: seen.value } } : seen;
    },
  });
  if ('refusal' in ended) throw ended.refusal;
  return ended.value;
}
