import type { FormatProblem } from '../../spec/problems.ts';
import type { DaemonFact, HostFacts, MultipassFact } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, isAtLeast, skipped, stopped, unseen, warned } from './check.ts';

/** Whether the lab can run on this kind of host with this driver. */
export function judgePlatform({ choices }: LabPlan, { platform }: HostFacts): HostFinding {
  if (platform === 'linux') return { found: platform };
  if (choices.driver.value === 'incus') {
    const message = `system containers need a Linux kernel, and this host runs ${platform}`;
    return stopped(platform, message, 'use a Linux machine or VM');
  }
  const message = `no lab was ever tried on ${platform}; what Debian's tools make cannot be made here`;
  const hint = 'docs/multipass.md, "macOS": network.mode dhcp, and a bundle that a Linux host made';
  return warned(`${platform}, never tried`, message, hint);
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** Before the first of these years nothing of this lab existed; after the second, 32-bit times overflow soon. */
const SANE_YEARS = [2025, 2100] as const;
/** What labup raises the limit to (machines/incus/host-limits.ts says why). */
const INOTIFY_INSTANCES = 1024;
/** The limit of many kernels, and "not enough to create a cluster with many nodes". https://kind.sigs.k8s.io/docs/user/known-issues/ */
const FEW_INOTIFY_WATCHES = 8192;
const KIND_INOTIFY_WATCHES = 524288;

/** Whether this Node.js is one that the package supports. */
export function judgeNode(_plan: LabPlan, { node }: HostFacts): HostFinding {
  const found = `${node.version}; ${node.floor} or later is needed`;
  if (isAtLeast(node.version, node.floor)) return { found };
  return stopped(
    found,
    `Node.js is ${node.version}; ${node.floor} or later is needed`,
    'install a later one: https://nodejs.org/en/download',
  );
}

/** Whether the user may make bridges and containers. */
export function judgeUser(_plan: LabPlan, { uid }: HostFacts): HostFinding {
  if (uid === 0) return { found: 'root' };
  return stopped(
    `user ${uid}`,
    `user ${uid} is not root; bridges and system containers need it`,
    'run it as root, e.g. with sudo',
  );
}

/** Whether the clock can be right, as far as that can be told without asking anybody. */
export function judgeClock(_plan: LabPlan, { clock }: HostFacts): HostFinding {
  const { now, newestFile } = clock;
  const text = (time: number) => `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  const found = text(now);
  const year = new Date(now).getUTCFullYear();
  const hint = 'timedatectl set-ntp true   (or: date --set "2026-01-31 12:00")';
  if (year < SANE_YEARS[0] || year > SANE_YEARS[1]) {
    const message = `the clock says ${found}; certificates and signatures would not be valid`;
    return stopped(found, message, hint);
  }
  if (now < newestFile - DAY_MS) {
    const message = `the clock says ${found}, but a file of this package was written ${text(newestFile)}`;
    return warned(found, message, hint);
  }
  return { found };
}

/** Whether root's inotify instances are enough for all machines, which share them. */
export function judgeInotifyInstances(_plan: LabPlan, { inotify, uid, unseen: not }: HostFacts): HostFinding {
  const command = `sysctl -w fs.inotify.max_user_instances=${INOTIFY_INSTANCES}`;
  if (inotify === undefined) return unseen('the limit', not.inotify ?? 'not on this host', command);
  const { instances, writable } = inotify;
  if (instances >= INOTIFY_INSTANCES) return { found: `${instances}; ${INOTIFY_INSTANCES} are enough` };
  if (writable || uid !== 0) {
    return { found: `${instances}; labup raises it to ${INOTIFY_INSTANCES} while there is a lab` };
  }
  const message = `fs.inotify.max_user_instances is ${instances}, ${INOTIFY_INSTANCES} are needed, and it cannot be changed from here`;
  return stopped(`${instances}, read-only`, message, `on the host that this container runs on: ${command}`);
}

/** Whether the user's inotify watches are more than the number that is known to be too small. */
export function judgeInotifyWatches(_plan: LabPlan, { inotify, unseen: not }: HostFacts): HostFinding {
  const command = `sysctl -w fs.inotify.max_user_watches=${KIND_INOTIFY_WATCHES}`;
  if (inotify === undefined) return unseen('the limit', not.inotify ?? 'not on this host', command);
  const found = String(inotify.watches);
  if (inotify.watches > FEW_INOTIFY_WATCHES) return { found };
  const message = `fs.inotify.max_user_watches is ${found}, which several kubelets can use up ("no space left on device")`;
  return warned(found, message, command);
}

/** Whether /dev/kmsg can be given to the machines. */
export function judgeKmsg(_plan: LabPlan, { kmsg }: HostFacts): HostFinding {
  if (kmsg) return { found: '/dev/kmsg is there' };
  const message = '/dev/kmsg is missing, and kubelet does not start without it';
  return stopped('missing', message, 'mknod /dev/kmsg c 1 11   (or use a host that is no container)');
}

/** Whether virtual machines can run at the processor's own speed. */
export function judgeKvm(_plan: LabPlan, { kvm, multipass }: HostFacts): HostFinding {
  const driver = multipass?.driver;
  if (driver !== undefined && driver !== 'qemu') return skipped(`Multipass makes machines with ${driver}`);
  // multipassd opens it as root, so a user who may not is no obstacle.
  if (kvm !== 'absent') return { found: '/dev/kvm is there' };
  const message =
    '/dev/kvm is missing; Multipass refuses to launch ("KVM support is not enabled on this machine")';
  return stopped(
    'missing',
    message,
    'switch virtualization on in the firmware, then: sudo modprobe kvm_intel || sudo modprobe kvm_amd',
  );
}

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
    return stopped('none', message, hint);
  }
  const { kind, program, unit, socket, why } = installed;
  const state = socket === 'silent' ? `does not answer (${why ?? 'silent'})` : 'does not run';
  if (installed.startable) return { found: `${kind} ${state}; labup starts it` };
  const message = `${kind} is installed (${program}) but ${state}`;
  return stopped(`${kind} ${state}`, message, `start its service ${unit}`);
}

function judgeVersion({ kind, version = 'unknown' }: DaemonFact): HostFinding {
  const found = `${kind} ${version}`;
  const floor = FLOORS[kind];
  if (isAtLeast(version, floor)) return { found: `${found} answers` };
  const hint = kind === 'incus' ? 'sudo apt-get install incus' : 'sudo apt-get install lxd';
  return stopped(found, `${found} is too old; ${floor} or later is needed`, `${hint}   (Debian 12 or later)`);
}

function judgeClosed({ kind, socket }: DaemonFact): HostFinding {
  const group = kind === 'incus' ? 'incus-admin' : 'lxd';
  const what = socket === 'denied' ? 'does not let this user in' : 'does not trust this user';
  return stopped(
    `${kind} ${what}`,
    `${kind} runs and ${what}`,
    `run it as root, e.g. with sudo   (the group that is let in is ${group})`,
  );
}

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
    return stopped(whatIsThere(multipass), fault.message, fault.hint);
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

/**
 * The Kubernetes minors that each Calico minor is tested with, first and last, by
 * https://docs.tigera.io/calico/3.32/getting-started/kubernetes/requirements and the same page of 3.31 and 3.33 (2026-11).
 */
const TESTED: Readonly<Record<string, readonly [first: number, last: number]>> = {
  '3.31': [32, 35],
  '3.32': [34, 36],
  '3.33': [35, 37],
};

/** Whether Calico is tested with the Kubernetes of this lab. */
export function judgeCalico({ calico, kubernetes }: LabPlan): HostFinding {
  if (calico === undefined) return skipped('the CNI is another one');
  const found = `${calico.version} with Kubernetes ${kubernetes.version}`;
  const warning = calicoWarning(kubernetes.version, calico.version);
  if (warning === undefined) return { found };
  const hint = 'none needed if labtest passes; else another version of one of them';
  return warned(found, warning, hint);
}

/**
 * A warning where a pair of Kubernetes ("v1.36.3", "v1.36.3+k3s1") and Calico ("v3.32.1") is not one that Calico is
 * tested with, or where that is not known; undefined where it is.
 */
export function calicoWarning(kubernetesVersion: string, calicoVersion: string): string | undefined {
  const pair = `Calico ${calicoVersion} with Kubernetes ${kubernetesVersion}`;
  const minor = /^v?1\.(\d+)(\.|$)/.exec(kubernetesVersion)?.[1];
  const range = TESTED[/^v?(\d+\.\d+)(\.|$)/.exec(calicoVersion)?.[1] ?? ''];
  if (minor === undefined || range === undefined)
    return `Whether ${pair} was ever tested is unknown; it may work.`;
  const [first, last] = range;
  if (Number(minor) >= first && Number(minor) <= last) return undefined;
  return `${pair} is not tested by Calico, which tests it with Kubernetes 1.${first} to 1.${last}; it may work.`;
}
