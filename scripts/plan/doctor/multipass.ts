import type { FormatProblem } from '../../spec/formats.ts';
import type { HostFacts, MultipassFact } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault } from './check.ts';
import { isAtLeast } from './versions.ts';

/** The oldest Multipass that the lab speaks to: extra NICs on Linux and `delete --purge` as a hard power-off. */
const FLOOR = '1.15';

/** What Multipass can make machines with so that they reach each other and the host by plain IP; the second on macOS. */
const BACKENDS = ['qemu', 'applevz'];

/** What is wrong with the version of `program`, multipass or multipassd, as it tells it. */
export function versionFault(program: string, version: string): FormatProblem | undefined {
  if (isAtLeast(version, FLOOR)) return undefined;
  return {
    message: `${program} ${version} is too old; ${FLOOR} or later is needed`,
    hint: 'sudo snap refresh multipass   (macOS: brew upgrade --cask multipass)',
  };
}

/** What is wrong with what Multipass makes machines with (its setting local.driver). */
export function backendFault(backend: string): FormatProblem | undefined {
  if (BACKENDS.includes(backend)) return undefined;
  return {
    message: `Multipass makes machines with "${backend}"; the lab needs qemu`,
    // Not done by labup: a global setting, which restarts the daemon.
    hint: 'multipass set local.driver=qemu   (hides the instances that you have now)',
  };
}

/** Whether Multipass is there, not too old, runs and lets us in. */
export function judgeMultipass(_plan: LabPlan, { multipass = {} }: HostFacts): HostFinding {
  const { daemon, driver } = multipass;
  const fault = faultOf(multipass);
  if (fault !== undefined) {
    return { found: whatIsThere(multipass), problems: [hostFault(fault.message, fault.hint)] };
  }
  return { found: `${daemon}, machines by ${driver}` };
}

function whatIsThere({ client, daemon }: MultipassFact): string {
  if (client === undefined) return 'not installed';
  return daemon === undefined ? `${client}; the daemon does not answer` : daemon;
}

function faultOf({ client, daemon, driver, refusal }: MultipassFact): FormatProblem | undefined {
  const versions = { multipass: client, multipassd: daemon };
  for (const [program, version] of Object.entries(versions)) {
    const fault = version === undefined ? undefined : versionFault(program, version);
    if (fault !== undefined) return fault;
  }
  if (refusal !== undefined) return refusal;
  if (daemon === undefined) {
    return { message: 'the daemon, multipassd, does not answer', hint: 'multipass list   (says why)' };
  }
  return backendFault(driver ?? 'unknown');
}
