import type { HostFacts } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault, hostWarning } from './check.ts';

/** Whether the lab can run on this kind of host with this driver. */
export function judgePlatform({ choices }: LabPlan, { platform }: HostFacts): HostFinding {
  if (platform === 'linux') return { found: platform };
  if (choices.driver.value === 'incus') {
    const message = `system containers need a Linux kernel, and this host runs ${platform}`;
    return { found: platform, problems: [hostFault(message, 'use a Linux machine or VM')] };
  }
  const message = `no lab was ever tried on ${platform}; what Debian's tools make cannot be made here`;
  const hint = 'docs/multipass.md, "macOS": network.mode dhcp, and a bundle that a Linux host made';
  return { found: `${platform}, never tried`, problems: [hostWarning(message, hint)] };
}
