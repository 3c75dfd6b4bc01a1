import type { KubectlAccess } from '../cluster/kubectl.ts';
import { forwardOver } from '../exec/forward.ts';
import type { SshTarget } from '../exec/ssh.ts';
import { type LabPlan, theMachine } from '../plan/types.ts';
import { HarnessError, LabError, messageOf } from '../shared/errors.ts';
import type { Deps } from './deps.ts';

/** The way to the API server, for as long as it is not closed. */
export interface ApiAccess {
  readonly via: Pick<KubectlAccess, 'via'>;
  close(): void;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Opens the way to the API server: nothing has to be done, unless the control plane is behind a jump host. Then kubectl
 * has no way to it but a forward over SSH, through the control plane itself, so that its SSH port is all that the jump
 * host has to reach. Throws what connecting through a jump host throws, HarnessError where the SSH login fails.
 */
export async function openApi(
  deps: Pick<Deps, 'connect'>,
  plan: LabPlan,
  targets: readonly SshTarget[],
): Promise<ApiAccess> {
  const { name } = theMachine(plan, 'control-plane');
  const target = targets.find((each) => each.name === name);
  if (target?.jump === undefined) return { via: {}, close() {} };
  const { hostname: serverName, port } = new URL(`https://${plan.kubernetes.apiServer}`);
  const connect = () =>
    deps.connect(target, CONNECT_TIMEOUT_MS).catch((error: unknown) => {
      if (error instanceof LabError) throw error;
      throw new HarnessError(`The API server of lab "${plan.lab}" cannot be reached: ${messageOf(error)}`, {
        details: [`kubectl goes over SSH to ${name}, for it is behind a jump host`],
        next: 'npx lab status; npx labup --yes',
        cause: error,
      });
    });
  const forward = await forwardOver(connect, serverName, Number(port));
  return { via: { via: { port: forward.port, serverName } }, close: () => forward.close() };
}
