import { detailsOf, LabFailure, messageOf } from '../shared/errors.ts';

/** A machine on which work failed, and why. */
export interface Failed {
  readonly name: string;
  readonly reason: unknown;
}

/** Does the work on all machines at once, and waits for all of them. */
export async function onEach<M extends { readonly name: string }, T>(
  machines: readonly M[],
  work: (machine: M) => Promise<T>,
): Promise<{ readonly done: readonly T[]; readonly failed: readonly Failed[] }> {
  const done: T[] = [];
  const failed: Failed[] = [];
  const ended = await Promise.allSettled(machines.map(work));
  for (const [index, each] of ended.entries()) {
    if (each.status === 'fulfilled') done.push(each.value);
    else failed.push({ name: machines[index]?.name ?? '', reason: each.reason });
  }
  return { done, failed };
}

/** The error for machines on which work failed: what each of them says, in the words of the first what to do next. */
export function notDone(
  what: string,
  failed: readonly Failed[],
  next = 'npx labup --yes   (continues where this one stopped)',
  more: readonly string[] = [],
): LabFailure {
  return new LabFailure(`${what}: ${failed.map(({ name }) => name).join(', ')}.`, {
    details: [
      ...failed.flatMap(({ name, reason }) => [
        `${name}: ${messageOf(reason)}`,
        ...detailsOf(reason).map((line) => `  ${line}`),
      ]),
      ...more,
    ],
    next,
    cause: failed[0]?.reason,
  });
}
