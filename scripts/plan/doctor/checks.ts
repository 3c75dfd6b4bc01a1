import { type HostFacts, type HostProblem, isError } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type DoctorCheck, examine, type HostFinding, type Precondition, stopped } from './check.ts';
import { KERNEL_CHECKS } from './kernel.ts';
import {
  judgeBridge,
  judgeBridgeNetfilter,
  judgeOtherLabs,
  judgePrefixes,
  judgeResolvers,
  judgeSubnet,
  judgeVpn,
} from './network.ts';
import { judgeDisk, judgeMemory, judgeMirror, judgePackages } from './resources.ts';
import {
  judgeCalico,
  judgeClock,
  judgeDaemon,
  judgeInotifyInstances,
  judgeInotifyWatches,
  judgeKmsg,
  judgeKvm,
  judgeMultipass,
  judgeNode,
  judgePlatform,
  judgeUser,
} from './system.ts';

/** Whose warnings labup tells otherwise: it asks before it installs packages. */
export const PACKAGES_CHECK = 'packages';

/** Every precondition of labup, in the order in which they are shown. */
const PRECONDITIONS: readonly Precondition[] = [
  { id: 'platform', title: 'platform', judge: judgePlatform },
  { id: 'node', title: 'Node.js', judge: judgeNode },
  { id: 'clock', title: 'clock', judge: judgeClock },
  { id: 'user', title: 'user', drivers: ['incus'], judge: judgeUser },
  { id: 'daemon', title: 'container daemon', drivers: ['incus'], judge: judgeDaemon },
  { id: 'multipass', title: 'Multipass', drivers: ['multipass'], judge: judgeMultipass },
  { id: 'kvm', title: 'KVM', drivers: ['multipass'], linuxOnly: true, judge: judgeKvm },
  // macOS has ssh, and nothing is built there.
  { id: PACKAGES_CHECK, title: 'packages', linuxOnly: true, judge: judgePackages },
  { id: 'mirror', title: 'package mirror', linuxOnly: true, judge: judgeMirror },
  { id: 'memory', title: 'memory', drivers: ['incus', 'multipass'], judge: judgeMemory },
  { id: 'disk', title: 'disk', judge: judgeDisk },
  { id: 'lab', title: 'this lab', judge: judgeLab },
  { id: 'other-labs', title: 'other labs', drivers: ['incus'], judge: judgeOtherLabs },
  { id: 'bridge', title: 'bridge', drivers: ['incus'], judge: judgeBridge },
  { id: 'subnet', title: 'subnet', drivers: ['incus', 'multipass'], judge: judgeSubnet },
  {
    id: 'bridge-netfilter',
    title: 'bridged packets',
    drivers: ['incus', 'multipass'],
    linuxOnly: true,
    judge: judgeBridgeNetfilter,
  },
  { id: 'prefixes', title: 'lab prefixes', drivers: ['incus', 'multipass'], judge: judgePrefixes },
  { id: 'resolvers', title: 'name servers', drivers: ['incus', 'multipass'], judge: judgeResolvers },
  { id: 'vpn', title: 'VPN', judge: judgeVpn },
  { id: 'calico', title: 'Calico', calicoOnly: true, judge: judgeCalico },
  { id: 'inotify-instances', title: 'inotify instances', drivers: ['incus'], judge: judgeInotifyInstances },
  { id: 'inotify-watches', title: 'inotify watches', drivers: ['incus'], judge: judgeInotifyWatches },
  { id: 'kmsg', title: 'kernel log', drivers: ['incus'], judge: judgeKmsg },
  ...KERNEL_CHECKS,
];

/** Judges this host for this plan: every precondition that applies to the plan's driver and the host's platform. Pure. */
export function examineHost(plan: LabPlan, facts: HostFacts): DoctorCheck[] {
  const { value } = plan.choices.driver;
  const isLinux = facts.platform === 'linux';
  return PRECONDITIONS.filter(({ drivers, linuxOnly, calicoOnly }) => {
    if (calicoOnly === true && plan.calico === undefined) return false;
    if (drivers !== undefined && !drivers.includes(value)) return false;
    // Containers are Linux' own: elsewhere there is nothing to look at for them.
    return isLinux || (linuxOnly !== true && (drivers === undefined || value !== 'incus'));
  }).map((precondition) => examine(precondition, plan, facts));
}

/** Everything that is wrong with the host, errors first. */
export function problemsOf(checks: readonly DoctorCheck[]): HostProblem[] {
  const problems = checks.flatMap((check) => check.problems);
  return [...problems.filter(isError), ...problems.filter((problem) => !isError(problem))];
}

function judgeLab({ lab, machines, choices }: LabPlan, facts: HostFacts): HostFinding {
  const { existingMachines, differences, unseen } = facts;
  if (unseen.lab !== undefined) {
    const message = `what exists of lab "${lab}" could not be looked at: ${unseen.lab}`;
    return stopped('not known', message, 'npx lab status   (says more)');
  }
  if (differences.length > 0) {
    const message = `it was made with other settings: ${differences.join('; ')}`;
    const hint = 'npx labdown --yes && npx labup --yes   (or undo the change)';
    return stopped('made with other settings', message, hint);
  }
  const there = machines.filter(({ name }) => existingMachines.includes(name)).length;
  if (there > 0) return { found: `${there} of ${machines.length} machines are there` };
  // Over SSH, machines exist before the lab has them.
  return { found: choices.driver.value === 'ssh' ? 'has no machine yet' : 'no machine exists yet' };
}
