import type { CloudInit, MachineDriver } from '../../../scripts/machines/driver.ts';
import type { LabPlan } from '../../../scripts/plan/types.ts';
import {
  renderMetaData,
  renderNetworkConfig,
  renderUserData,
  renderVmUserData,
} from '../../../scripts/render/cloud-init.ts';
import { renderSshdConfig } from '../../../scripts/render/software.ts';
import type { Secrets } from '../../../scripts/shared/secrets.ts';

/** labup's own documents, without packages: nothing here needs one, and a mirror is slow. `broken` fails in the guest. */
export function cloudInitFor(
  plan: LabPlan,
  kind: MachineDriver['machines'],
  secrets: Secrets,
  broken?: string,
): ReadonlyMap<string, CloudInit> {
  return new Map(
    plan.machines.map((machine) => {
      const userData =
        kind === 'prebuilt'
          ? renderUserData(plan, machine, secrets)
          : renderVmUserData(plan, secrets, [], renderSshdConfig()).replace(
              'package_update: true',
              'package_update: false',
            );
      return [
        machine.name,
        {
          userData: machine.name === broken ? `${userData}runcmd:\n  - exit 3\n` : userData,
          metaData: renderMetaData(plan, machine),
          networkConfig: renderNetworkConfig(plan, machine),
        },
      ];
    }),
  );
}
