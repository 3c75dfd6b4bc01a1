import type { Executor } from '../../exec/executor.ts';
import type { MultipassFact } from '../../plan/host-facts.ts';
import { Interrupted, LabError, messageOf } from '../../shared/errors.ts';
import { silent } from '../../shared/events.ts';
import { multipass } from './client.ts';
import { kindOf } from './failure.ts';
import { listInstances } from './host.ts';
import { PATIENCE, type Patience } from './patience.ts';

/** A daemon that is being restarted, as a snap does that updates itself, is there again by then. In milliseconds. */
const RESTART_MS = 20_000;

/**
 * What there is of Multipass, once a daemon that restarts is there again. `version` also succeeds without a daemon and
 * then leaves "multipassd" out; only another command tells whether the daemon runs and knows the user.
 */
export async function lookAtMultipass(
  local: Executor,
  patience: Partial<Patience> = {},
): Promise<MultipassFact> {
  const client = multipass(local);
  const limits = { ...PATIENCE, daemon: RESTART_MS, blocked: 0, ...patience };
  const answered = await listInstances({ client, patience: limits }, silent).catch(refusalOf);
  const versions = await client.versions().catch(refusalOf);
  if ('refusal' in versions) return versions;
  const driver = 'refusal' in answered ? answered : await client.setting('local.driver').catch(refusalOf);
  return {
    client: versions.client,
    ...(versions.daemon && { daemon: versions.daemon }),
    ...(typeof driver === 'string' ? { driver } : driver),
  };
}

/** Where Multipass keeps its machines. */
export const MULTIPASS_FOLDER = '/var/snap/multipass/common/data/multipassd';

/** Why a call failed, and the cure that the driver would name. Throws what is no failure of Multipass. */
function refusalOf(error: unknown): Required<Pick<MultipassFact, 'refusal'>> {
  if (error instanceof Interrupted || !(error instanceof LabError)) throw error;
  const hint =
    kindOf(error) === 'timeout'
      ? 'wait up to five minutes: an instance that does not shut down blocks the daemon; then try again'
      : 'multipass list   (says more)';
  return { refusal: { message: messageOf(error), hint: error.next ?? hint } };
}
