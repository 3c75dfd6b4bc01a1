import { Interrupted, messageOf, UserError } from '../../shared/errors.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { type Look, type WaitOptions, waitFor } from '../../shared/wait.ts';
import { type FailureKind, kindOf } from './failure.ts';

/** What `launch` gets as its --timeout: for each stage in the daemon (SSH, cloud-init with its packages). */
export const LAUNCH_SECONDS = 1800;

/** Every wait of this driver, in milliseconds, and how often is looked; the rest is TIMEOUTS of shared/. */
export const PATIENCE = {
  /** Between two looks: the daemon does one thing at a time, and a look is one. */
  poll: 2_000,
  /** The daemon after its start or that of the host. */
  daemon: TIMEOUTS.daemonReady,
  /** A daemon that waits for a guest to shut down, which it does for 300 s, and answers nobody meanwhile. */
  blocked: 360_000,
  /** A daemon that has just started does not know its image servers yet. */
  imageServers: 120_000,
  /** A running guest's SSH, and its address. */
  guest: TIMEOUTS.machineSsh,
  /** A boot with cloud-init and its packages, over any line; a machine that boots is Unknown until its SSH answers. */
  firstBoot: 1_200_000,
  /** A launch that has not come back, which the daemon goes on with: as long as it may take each of its stages. */
  launch: LAUNCH_SECONDS * 1000,
  /** The same for labdown, which only waits for what is nearly there. */
  lateLaunch: 60_000,
};
export type Patience = Readonly<Record<keyof typeof PATIENCE, number>>;

interface Patient {
  readonly patience: Patience;
}

/**
 * waitFor at the pace that suits the daemon. A UserError ends the wait at once: it does not go away by itself. What else
 * is thrown counts as "not yet".
 */
export async function waitForState<T>(
  { patience }: Patient,
  { look, ...options }: Omit<WaitOptions<T>, 'pollMs'>,
): Promise<T> {
  let refusal: UserError | undefined;
  const lookOnce = async (): Promise<Look<T>> =>
    look().catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      refusal = error;
      return { done: false, why: error.message, hopeless: true };
    });
  return waitFor({ ...options, pollMs: patience.poll, look: lookOnce }).catch((error: unknown) => {
    throw refusal ?? error;
  });
}

/**
 * Does work again while it fails of something that may pass. Throws what it failed of in the end, or, with `next`, the
 * wait's own error.
 */
export async function whilePassing<T>(
  { patience }: Patient,
  passing: readonly FailureKind[],
  options: Omit<WaitOptions<T>, 'pollMs' | 'look'>,
  work: () => Promise<T>,
): Promise<T> {
  let failure: unknown;
  let isPassing = true;
  const look = async (): Promise<Look<T>> => {
    try {
      return { done: true, value: await work() };
    } catch (error) {
      failure = error;
      isPassing = passing.some((kind) => kind === kindOf(error));
      return { done: false, why: messageOf(error), hopeless: !isPassing };
    }
  };
  return waitFor({ ...options, pollMs: patience.poll, look }).catch((error: unknown) => {
    throw error instanceof Interrupted || (isPassing && options.next !== undefined) ? error : failure;
  });
}
