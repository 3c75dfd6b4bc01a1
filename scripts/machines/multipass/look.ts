import type { Executor } from '../../exec/executor.ts';
import type { MultipassFact } from '../../plan/host-facts.ts';
import { Interrupted, LabError, messageOf } from '../../shared/errors.ts';
import { multipass } from './client.ts';
import { kindOf } from './failure.ts';

/** multipassd answers one request after the other, and some take long. In milliseconds. */
const ANSWER_TIMEOUT_MS = 20_000;

/**
 * What there is of Multipass. `version` also succeeds without a daemon and then leaves "multipassd" out; a setting can
 * only be read where the daemon runs and knows the user, and the refusal says which of the two is wrong.
 */
export async function lookAtMultipass(local: Executor, platform: NodeJS.Platform): Promise<MultipassFact> {
  const client = multipass(local, platform, ANSWER_TIMEOUT_MS);
  const versions = await client.versions().catch(refusalOf);
  if ('refusal' in versions) return versions;
  const driver = await client.setting('local.driver').catch(refusalOf);
  return {
    client: versions.client,
    ...(versions.daemon === undefined ? {} : { daemon: versions.daemon }),
    ...(typeof driver === 'string' ? { driver } : driver),
  };
}

/** Where Multipass keeps its machines, as far as it is known. */
export function multipassFolder(platform: string): string {
  return platform === 'darwin' ? '/var/root' : '/var/snap/multipass/common/data/multipassd';
}

/** Why a call failed, and the cure that the driver would name. Throws what is no failure of Multipass. */
function refusalOf(error: unknown): Required<Pick<MultipassFact, 'refusal'>> {
  if (error instanceof Interrupted || !(error instanceof LabError)) throw error;
  // What the driver has no words for, Multipass says best itself.
  const said = error.details.find((line) => !line.startsWith('command: '));
  const message =
    kindOf(error) === 'other' && said !== undefined ? `Multipass fails: ${said}` : messageOf(error);
  return { refusal: { message, hint: error.next ?? 'multipass list   (says more)' } };
}
