import { tryLock } from '../artifacts/lock.ts';
import { UserError } from '../shared/errors.ts';

/**
 * Does work on a lab's machines while no other process of this host does any: the lock of the state folder does not know
 * of a labup of the same lab in another folder. `where` tells apart places whose labs have nothing in common. Throws
 * UserError where another one is at it.
 */
export async function withHostLock<T>(where: string, lab: string, work: () => Promise<T>): Promise<T> {
  const lock = await tryLock(`${where} ${lab}`);
  if (lock === undefined) {
    throw new UserError(`Another labup or labdown is already running on lab "${lab}", from another folder.`, {
      next: 'wait for it, then run this again; or choose another lab name in lab.yaml',
    });
  }
  return work().finally(() => lock.release());
}
