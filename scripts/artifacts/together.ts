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
