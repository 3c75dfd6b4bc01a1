import { setTimeout as delay } from 'node:timers/promises';
import { Interrupted, LabError, LabFailure, messageOf, rethrowIfInterrupted } from './errors.ts';
import type { Emit } from './events.ts';
import { POLL_MS } from './timeouts.ts';

/** What one look at a condition found: done with a value, or not yet and why. */
export type Look<T> =
  | { readonly done: true; readonly value: T }
  /** `hopeless`: it will not come by waiting. */
  | { readonly done: false; readonly why: string; readonly hopeless?: boolean };

export interface WaitOptions<T> {
  /** The condition in words, e.g. "k8sworker1 to accept SSH". */
  readonly what: string;
  readonly timeoutMs: number;
  /** One look. A throw counts as "not yet", with what the error says as the reason; Interrupted ends the wait. */
  readonly look: () => Promise<Look<T>>;
  readonly next?: string;
  /** What else there is to say of a wait that has failed: asked once, then. */
  readonly explain?: () => Promise<readonly string[]>;
  readonly pollMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly emit?: Emit;
}

/**
 * Looks at a named condition until it holds. Throws LabFailure with the last reason on timeout or where there is no hope,
 * Interrupted on abort.
 */
export async function waitFor<T>(options: WaitOptions<T>): Promise<T> {
  const { what, timeoutMs, look, signal, emit, pollMs = POLL_MS } = options;
  const deadline = performance.now() + timeoutMs;
  let why = 'nothing';
  for (;;) {
    if (signal?.aborted) throw new Interrupted(options.next);
    const seen = await look().catch((error: unknown) => {
      rethrowIfInterrupted(error);
      const details = error instanceof LabError ? error.details : [];
      return { done: false as const, why: messageOf(error).replace(/\.$/, ''), details };
    });
    if (seen.done) return seen.value;
    if (seen.why !== why) emit?.({ type: 'note', text: `waiting for ${what}: ${seen.why}` });
    why = seen.why;
    const isHopeless = 'hopeless' in seen && seen.hopeless === true;
    if (isHopeless || performance.now() + pollMs > deadline) {
      const seconds = Math.round(timeoutMs / 1000);
      const message = isHopeless
        ? `Stopped waiting for ${what}: ${why}.`
        : `Timed out after ${seconds} s waiting for ${what} (last seen: ${why}).`;
      throw new LabFailure(message, {
        details: [...('details' in seen ? seen.details : []), ...(await explained(options.explain))],
        ...(options.next === undefined ? {} : { next: options.next }),
      });
    }
    await delay(pollMs, undefined, { signal }).catch(() => {
      throw new Interrupted(options.next);
    });
  }
}

/** Never throws: the wait's own failure must not be lost. */
async function explained(
  explain: (() => Promise<readonly string[]>) | undefined,
): Promise<readonly string[]> {
  try {
    return (await explain?.()) ?? [];
  } catch (error) {
    return [`more could not be asked: ${messageOf(error)}`];
  }
}

/** Something to wait for that is opened, or fails, from outside. */
export function gate() {
  let open = () => {};
  let fail = (_: unknown) => {};
  const passed = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  passed.catch(() => {});
  return { passed, open, fail };
}
