/** How a piece of work ended; not begun where an earlier one had failed by then. */
export type Ended<T> = PromiseSettledResult<T> | { readonly status: 'not begun' };

/**
 * Does the work for every item, at most `limit` at a time and in order. After a failure nothing new is begun, and what
 * is under way is waited for. Never throws; tells how each one ended.
 */
export async function inParallel<T, R>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<readonly Ended<R>[]> {
  const ended: Ended<R>[] = items.map(() => ({ status: 'not begun' }));
  let next = 0;
  let failed = false;
  const worker = async () => {
    while (next < items.length && !failed) {
      const index = next++;
      try {
        ended[index] = { status: 'fulfilled', value: await work(items[index] as T) };
      } catch (reason) {
        failed = true;
        ended[index] = { status: 'rejected', reason };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return ended;
}

/** The same where every result is needed: throws the first failure. */
export async function allInParallel<T, R>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const ended = await inParallel(limit, items, work);
  const failure = ended.find((each) => each.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return ended.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
}

/** One at a time, in the order of asking; a failure of one does not stop the next. */
export function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
}
