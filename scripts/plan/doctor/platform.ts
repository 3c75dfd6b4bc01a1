import type { HostFacts } from '../host-facts.ts';
import type { HostProblem } from '../host-problem.ts';
import type { LabPlan } from '../types.ts';
import { type Finding, hostFault } from './check.ts';

/** Whether the lab can run on this kind of host with this driver, this network and these artifacts. */
export function judgePlatform(plan: LabPlan, { platform }: HostFacts): Finding {
  if (platform === 'linux') return { found: platform };
  if (platform === 'darwin') return { found: 'macOS', problems: onMac(plan) };
  const message = `the lab runs on Linux and macOS, and this host runs ${platform}`;
  return { found: platform, problems: [hostFault(message, 'use a Linux machine or VM')] };
}

/** Machines are Linux and are reached over SSH, so what a Mac lacks is only what is made of, or on, the host itself. */
function onMac({ choices, multipass }: LabPlan): HostProblem[] {
  const problems: HostProblem[] = [];
  const refuse = (message: string, hint: string) => problems.push(hostFault(message, hint));
  if (choices.driver.value === 'incus') {
    refuse(
      'system containers need a Linux kernel, and this host runs macOS',
      'npx labup --driver multipass   (virtual machines)',
    );
  }
  const mode = multipass?.network.mode;
  if (mode !== undefined && mode !== 'dhcp') {
    // https://documentation.ubuntu.com/multipass/latest/how-to-guides/troubleshoot/troubleshoot-networking/
    refuse(
      `network mode ${mode} gives machines addresses that macOS did not give them, and it lets nothing through for these`,
      'set multipass.network.mode to dhcp in lab.yaml',
    );
  }
  const artifacts = choices.artifacts.value;
  if (artifacts !== 'bundle') {
    // Of online artifacts the echo server's image is made here.
    refuse(
      `artifacts ${artifacts} are built with Debian's tools, and this host runs macOS`,
      'on a Linux host: npx lab bundle create --from online DIR; here, with a kubectl added: npx labup --artifacts DIR',
    );
  }
  return problems;
}
