import { LabFailure, UserError } from '../../shared/errors.ts';
import type { Listed } from './client.ts';
import { askGuest, type GuestFacts } from './guest.ts';
import type { Entry, MultipassHost } from './host.ts';

/** Whose an instance is, and what was seen of it. */
export type Ownership =
  | { readonly whose: 'nobody'; readonly name: string; readonly entry?: Entry | undefined }
  | {
      readonly whose: 'ours';
      readonly name: string;
      readonly state: string;
      /** Absent where the guest does not run or does not answer. */
      readonly facts?: GuestFacts | undefined;
      readonly entry?: Entry | undefined;
    }
  | { readonly whose: 'foreign'; readonly name: string; readonly state: string; readonly why: string };

/**
 * Whether the instance of that name is the lab's. A guest that runs is asked; one that cannot be asked is the lab's if
 * labup noted that it launched it. Throws MultipassRefusal where the daemon cannot be used.
 */
export async function ownershipOf(
  host: MultipassHost,
  lab: string,
  name: string,
  listed: Listed | undefined,
  entry: Entry | undefined,
): Promise<Ownership> {
  if (listed === undefined) return { whose: 'nobody', name, entry };
  const { state } = listed;
  const noted = entry?.lab === lab;
  const facts = state === 'Running' ? await factsOf(host, name) : undefined;
  const foreign = (why: string): Ownership => ({ whose: 'foreign', name, state, why });
  if (facts?.owner !== undefined) {
    return facts.owner === lab
      ? { whose: 'ours', name, state, facts, entry: noted ? entry : undefined }
      : foreign(`it belongs to lab "${facts.owner}"`);
  }
  if (!noted) {
    const asked = facts === undefined ? 'it cannot be asked' : 'it has no /etc/lab/owner';
    return foreign(`${asked}, and labup of lab "${lab}" has no note of launching it`);
  }
  // A guest that cloud-init still works on has no owner yet; one that it is done with should have.
  return facts?.cloudInit.finished === true
    ? foreign(`labup launched one of that name at ${entry.launchedAt}, but this one has no /etc/lab/owner`)
    : { whose: 'ours', name, state, facts, entry };
}

/** What the guest says, undefined where it does not answer. Throws what concerns the daemon. */
async function factsOf({ client }: MultipassHost, name: string): Promise<GuestFacts | undefined> {
  return askGuest(client, name).catch((error: unknown) => {
    if (!(error instanceof LabFailure)) throw error;
    return undefined;
  });
}

/** The error for instances that have our machines' names and are not ours. */
export function foreignError(
  lab: string,
  foreign: readonly { readonly name: string; readonly state: string; readonly why: string }[],
): UserError {
  const names = foreign.map(({ name }) => name);
  return new UserError(`Multipass has instances that are not lab "${lab}"'s: ${names.join(', ')}.`, {
    details: foreign.map(({ name, state, why }) => `${name} (${state.toLowerCase()}): ${why}`),
    next: `rename the machines in lab.yaml, or remove the instances yourself: multipass delete --purge ${names.join(' ')}`,
  });
}

/** What a guest that is not ours says of itself. */
export function whoseIt({ owner }: Pick<GuestFacts, 'owner'>): string {
  return owner === undefined ? 'it has no /etc/lab/owner' : `it belongs to lab "${owner}"`;
}
