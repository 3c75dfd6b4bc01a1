import { LabFailure, messageOf } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { kindOf } from './failure.ts';
import { listInstances, type MultipassHost } from './host.ts';

const TRIES = 3;

/**
 * Removes exactly these instances for good; one that is gone is no error. Never a bare `multipass purge`, which takes
 * everybody's deleted instances. Throws LabFailure naming those that are still there afterwards, and MultipassRefusal.
 */
export async function purgeInstances(
  host: MultipassHost,
  names: readonly string[],
  emit: Emit,
): Promise<void> {
  let left = names;
  let last: unknown;
  for (let attempt = 1; left.length > 0 && attempt <= TRIES; attempt++) {
    last = await purgeOnce(host, left, emit);
    // Where one of several names is gone, Multipass does nothing for any; so what is left is asked for again.
    const listed = await listInstances(host, emit);
    left = left.filter((name) => listed.has(name));
  }
  if (left.length === 0) return;
  throw new LabFailure(`Not removed: ${left.join(', ')}.`, {
    details: [last === undefined ? 'multipass delete ended well, and they are still there' : messageOf(last)],
    next: `multipass stop --force ${left.join(' ')}; npx labdown --yes`,
    cause: last,
  });
}

/** The error of one attempt, if it had one that another attempt may not have. */
async function purgeOnce(host: MultipassHost, names: readonly string[], emit: Emit): Promise<unknown> {
  try {
    await host.exclusive(() => host.client.purge(names));
    return undefined;
  } catch (error) {
    const kind = kindOf(error);
    if (kind === undefined || kind === 'not-installed') throw error;
    emit({ type: 'note', text: messageOf(error) });
    // One that is starting may not be shut down without force, or is only after its start has timed out.
    if (kind === 'busy' || kind === 'timeout') await powerOff(host, names, emit);
    return error;
  }
}

async function powerOff(host: MultipassHost, names: readonly string[], emit: Emit): Promise<void> {
  const listed = await listInstances(host, emit);
  const isOff = (name: string) => ['Stopped', 'Deleted', undefined].includes(listed.get(name)?.state);
  for (const name of names.filter((each) => !isOff(each))) {
    await host
      .exclusive(() => host.client.powerOff(name))
      .catch((error: unknown) => {
        if (kindOf(error) === undefined) throw error;
        emit({ type: 'note', text: messageOf(error) });
      });
  }
}
