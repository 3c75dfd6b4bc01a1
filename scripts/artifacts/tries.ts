import pLimit from 'p-limit';
import pRetry from 'p-retry';
import { Interrupted } from '../shared/errors.ts';

/**
 * Waits for work that ends together: the first failure aborts the signal that `start` is given, and is thrown once all have
 * ended. Throws Interrupted where `outer` was aborted.
 */
export async function together<T extends readonly unknown[]>(
  outer: AbortSignal | undefined,
  start: (signal: AbortSignal) => { readonly [K in keyof T]: Promise<T[K]> },
): Promise<T> {
  const failed = new AbortController();
  const errors: unknown[] = [];
  const work = start(outer === undefined ? failed.signal : AbortSignal.any([outer, failed.signal]));
  const results = await Promise.all(
    work.map((each) =>
      each.catch((error: unknown) => {
        errors.push(error);
        failed.abort();
      }),
    ),
  );
  if (outer?.aborted) throw new Interrupted();
  if (errors.length > 0) throw errors[0];
  return results as unknown as T;
}

const TRIES = 3;
const BACKOFF_MS = 1000;

/**
 * Fetches every item, some at a time, and gives the results in the order of the items. The first failure ends the others
 * and is thrown; those that wait for their turn then are not begun. Throws Interrupted where `signal` was aborted.
 */
export async function fetchAll<Item, Result>(
  items: readonly Item[],
  { atOnce, signal: outer }: { readonly atOnce: number; readonly signal?: AbortSignal | undefined },
  getOne: (item: Item, signal: AbortSignal) => Promise<Result>,
): Promise<readonly Result[]> {
  const limit = pLimit(atOnce);
  const results = await together<(Result | undefined)[]>(outer, (signal) =>
    items.map((item) => limit(async () => (signal.aborted ? undefined : getOne(item, signal)))),
  );
  return results as Result[];
}

export interface TriesOptions {
  readonly signal: AbortSignal;
  /** The pause before the second try, in milliseconds; it doubles before the third. */
  readonly backoffMs?: number | undefined;
  /** Whether the same may go better the next time. */
  readonly mayImprove: (error: Error) => boolean;
  /** Told of a try that is followed by another. */
  readonly again: (error: Error) => void;
  /** What is thrown in the end. */
  readonly failure: (error: unknown, tries: number) => unknown;
}

/** Up to three tries, for what may be better the next time. Throws Interrupted on abort. */
export async function withTries<T>(
  work: () => Promise<T>,
  { signal, backoffMs = BACKOFF_MS, mayImprove, again, failure }: TriesOptions,
): Promise<T> {
  let tries = 0;
  const isWorthIt = (error: Error) => !signal.aborted && mayImprove(error);
  try {
    return await pRetry(
      () => {
        tries += 1;
        return work();
      },
      {
        retries: TRIES - 1,
        minTimeout: backoffMs,
        factor: 2,
        randomize: true,
        signal,
        shouldRetry: ({ error }) => isWorthIt(error),
        onFailedAttempt: ({ error, retriesLeft }) => {
          if (retriesLeft > 0 && isWorthIt(error)) again(error);
        },
      },
    );
  } catch (error) {
    if (signal.aborted) throw new Interrupted();
    throw failure(error, tries);
  }
}
