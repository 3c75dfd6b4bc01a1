import type { DaemonFact, HostFacts } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault } from './check.ts';
import { isAtLeast } from './versions.ts';

/** The oldest daemons whose API has what the driver uses. */
const FLOORS: Readonly<Record<DaemonFact['kind'], string>> = { incus: '6', lxd: '5' };

/** Whether a container daemon answers, lets us in and is not too old; or whether labup can start or install one. */
export function judgeDaemon(_plan: LabPlan, { daemons, apt }: HostFacts): HostFinding {
  const answering = daemons.find(({ socket }) => socket === 'answers');
  if (answering !== undefined) return judgeVersion(answering);
  const closed = daemons.find(({ socket }) => socket === 'denied' || socket === 'untrusted');
  if (closed !== undefined) return judgeClosed(closed);
  const installed = daemons.find((daemon) => daemon.installed);
  if (installed === undefined) {
    if (apt) return { found: 'neither Incus nor LXD is installed; labup installs one' };
    const message = 'neither Incus nor LXD is installed, and there is no apt-get here';
    const hint = 'install Incus: https://linuxcontainers.org/incus/docs/main/installing/';
    return { found: 'none', problems: [hostFault(message, hint)] };
  }
  const { kind, program, unit, socket, why } = installed;
  const state = socket === 'silent' ? `does not answer (${why ?? 'silent'})` : 'does not run';
  if (installed.startable) return { found: `${kind} ${state}; labup starts it` };
  const message = `${kind} is installed (${program}) but ${state}`;
  return { found: `${kind} ${state}`, problems: [hostFault(message, `start its service ${unit}`)] };
}

function judgeVersion({ kind, version = 'unknown' }: DaemonFact): HostFinding {
  const found = `${kind} ${version}`;
  const floor = FLOORS[kind];
  if (isAtLeast(version, floor)) return { found: `${found} answers` };
  const hint = kind === 'incus' ? 'sudo apt-get install incus' : 'sudo apt-get install lxd';
  return {
    found,
    problems: [
      hostFault(`${found} is too old; ${floor} or later is needed`, `${hint}   (Debian 12 or later)`),
    ],
  };
}

function judgeClosed({ kind, socket }: DaemonFact): HostFinding {
  const group = kind === 'incus' ? 'incus-admin' : 'lxd';
  const what = socket === 'denied' ? 'does not let this user in' : 'does not trust this user';
  return {
    found: `${kind} ${what}`,
    problems: [
      hostFault(
        `${kind} runs and ${what}`,
        `run it as root, e.g. with sudo   (the group that is let in is ${group})`,
      ),
    ],
  };
}
