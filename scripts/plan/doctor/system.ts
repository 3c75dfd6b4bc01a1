import type { HostFacts } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault, hostWarning, skipped, unseen } from './check.ts';
import { isAtLeast } from './versions.ts';

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
  return {
    found,
    problems: [
      hostFault(
        `Node.js is ${node.version}; ${node.floor} or later is needed`,
        'install a later one: https://nodejs.org/en/download',
      ),
    ],
  };
}

/** Whether the user may make bridges and containers. */
export function judgeUser(_plan: LabPlan, { uid }: HostFacts): HostFinding {
  if (uid === 0) return { found: 'root' };
  return {
    found: `user ${uid}`,
    problems: [
      hostFault(
        `user ${uid} is not root; bridges and system containers need it`,
        'run it as root, e.g. with sudo',
      ),
    ],
  };
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
    return { found, problems: [hostFault(message, hint)] };
  }
  if (now < newestFile - DAY_MS) {
    const message = `the clock says ${found}, but a file of this package was written ${text(newestFile)}`;
    return { found, problems: [hostWarning(message, hint)] };
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
  return {
    found: `${instances}, read-only`,
    problems: [hostFault(message, `on the host that this container runs on: ${command}`)],
  };
}

/** Whether the user's inotify watches are more than the number that is known to be too small. */
export function judgeInotifyWatches(_plan: LabPlan, { inotify, unseen: not }: HostFacts): HostFinding {
  const command = `sysctl -w fs.inotify.max_user_watches=${KIND_INOTIFY_WATCHES}`;
  if (inotify === undefined) return unseen('the limit', not.inotify ?? 'not on this host', command);
  const found = String(inotify.watches);
  if (inotify.watches > FEW_INOTIFY_WATCHES) return { found };
  const message = `fs.inotify.max_user_watches is ${found}, which several kubelets can use up ("no space left on device")`;
  return { found, problems: [hostWarning(message, command)] };
}

/** Whether /dev/kmsg can be given to the machines. */
export function judgeKmsg(_plan: LabPlan, { kmsg }: HostFacts): HostFinding {
  if (kmsg) return { found: '/dev/kmsg is there' };
  const message = '/dev/kmsg is missing, and kubelet does not start without it';
  return {
    found: 'missing',
    problems: [hostFault(message, 'mknod /dev/kmsg c 1 11   (or use a host that is no container)')],
  };
}

/** Whether virtual machines can run at the processor's own speed. */
export function judgeKvm(_plan: LabPlan, { kvm, multipass }: HostFacts): HostFinding {
  const driver = multipass?.driver;
  if (driver !== undefined && driver !== 'qemu') return skipped(`Multipass makes machines with ${driver}`);
  // multipassd opens it as root, so a user who may not is no obstacle.
  if (kvm !== 'absent') return { found: '/dev/kvm is there' };
  const message =
    '/dev/kvm is missing; Multipass refuses to launch ("KVM support is not enabled on this machine")';
  return {
    found: 'missing',
    problems: [
      hostFault(
        message,
        'switch virtualization on in the firmware, then: sudo modprobe kvm_intel || sudo modprobe kvm_amd',
      ),
    ],
  };
}
