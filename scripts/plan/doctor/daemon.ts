import type { DaemonFact, HostFacts, MultipassFact } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type Finding, hostFault } from './check.ts';
import { isAtLeast } from './versions.ts';

/** The oldest daemons whose API has what the driver uses. */
const FLOORS: Readonly<Record<DaemonFact['kind'], string>> = { incus: '6', lxd: '5' };
/** The first Multipass with `clone`, `--network` on Linux and the error texts that the driver reads. */
const MULTIPASS_FLOOR = '1.15';

/** What Multipass can make machines with so that they reach each other and the host by plain IP, by platform. */
const BACKENDS: Readonly<Record<string, readonly string[]>> = {
  linux: ['qemu'],
  darwin: ['qemu', 'applevz'],
};

/** Whether a container daemon answers, lets us in and is not too old; or whether labup can start or install one. */
export function judgeDaemon(_plan: LabPlan, { daemons, apt }: HostFacts): Finding {
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

function judgeVersion({ kind, version = 'unknown' }: DaemonFact): Finding {
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

function judgeClosed({ kind, socket }: DaemonFact): Finding {
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

/** Whether Multipass is there, not too old, runs and lets us in. */
export function judgeMultipass(_plan: LabPlan, { multipass, platform }: HostFacts): Finding {
  const isMac = platform === 'darwin';
  if (multipass?.client === undefined) {
    const said = multipass?.refusal === undefined ? '' : `: ${multipass.refusal}`;
    const hint = isMac ? 'brew install --cask multipass' : 'sudo snap install multipass';
    return { found: 'not installed', problems: [hostFault(`Multipass is not there${said}`, hint)] };
  }
  const old = [multipass.client, multipass.daemon].find(
    (version) => version !== undefined && !isAtLeast(version, MULTIPASS_FLOOR),
  );
  if (old !== undefined) {
    const message = `Multipass ${old} is too old; ${MULTIPASS_FLOOR} or later is needed`;
    const hint = isMac ? 'brew upgrade --cask multipass' : 'sudo snap refresh multipass';
    return { found: old, problems: [hostFault(message, hint)] };
  }
  if (multipass.refusal !== undefined) return judgeRefusal(multipass, multipass.refusal, isMac);
  if (multipass.daemon === undefined) return judgeRefusal(multipass, 'multipassd does not answer', isMac);
  return judgeBackend(multipass.daemon, multipass.driver ?? 'unknown', platform);
}

function judgeBackend(version: string, backend: string, platform: string): Finding {
  const supported = BACKENDS[platform] ?? [];
  const found = `${version}, machines by ${backend}`;
  if (supported.includes(backend)) return { found };
  const message = `Multipass makes machines with "${backend}"; the lab needs ${supported.join(' or ') || 'Linux or macOS'}`;
  const hint = `multipass set local.driver=${supported[0] ?? 'qemu'}   (hides the instances that you have now)`;
  return { found, problems: [hostFault(message, hint)] };
}

/** The texts are Multipass' own: src/client/common/client_common.cpp and src/daemon/daemon.cpp of canonical/multipass. */
function judgeRefusal({ client }: MultipassFact, refusal: string, isMac: boolean): Finding {
  const found = `${client}; the daemon is not to be had`;
  const problem = (hint: string) => ({
    found,
    problems: [hostFault(`Multipass does not serve this user: ${refusal}`, hint)],
  });
  if (refusal.includes('not authenticated')) {
    return problem(
      'sudo multipass set local.passphrase   (asks for a new one), then: multipass authenticate',
    );
  }
  if (refusal.includes('access denied')) {
    return problem(
      isMac
        ? 'sudo dseditgroup -o edit -a "$USER" -t user admin, then log in again'
        : 'sudo usermod -aG sudo "$USER", then log in again   (the socket belongs to sudo, adm or admin)',
    );
  }
  return problem(
    isMac
      ? 'sudo launchctl kickstart -k system/com.canonical.multipassd'
      : 'sudo snap restart multipass   (then: snap logs multipass)',
  );
}
