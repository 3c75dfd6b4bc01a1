import type { MachineRole } from '../../spec/types.ts';
import { type DiskFact, type HostFacts, type HostProblem, nameOf } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';
import { type HostFinding, hostFault, skipped, stopped, unseen, warned } from './check.ts';

/** Whether the machines that are still to be made fit in memory. */
export function judgeMemory(plan: LabPlan, facts: HostFacts): HostFinding {
  const { memoryBytes: needed } = hostNeeds(plan, facts);
  if (facts.unseen.memory !== undefined) {
    return unseen('memory', facts.unseen.memory, `see to it that ${gib(needed)} are free`);
  }
  const found = `${gib(facts.freeMemoryBytes)} are available; ${gib(needed)} are needed`;
  if (facts.freeMemoryBytes >= needed) return { found };
  const message = `too little memory: ${found}`;
  return stopped(found, message, 'stop other programs, or use fewer workers or clients');
}

/** Whether state, cache and machines fit on their disks; what lies on one disk shares its room. */
export function judgeDisk(plan: LabPlan, facts: HostFacts): HostFinding {
  if (facts.unseen.disk !== undefined) {
    return unseen('disk', facts.unseen.disk, 'see to it that there is room: df -h');
  }
  const { diskBytes } = hostNeeds(plan, facts);
  const disks = [...new Set(facts.disks.map(({ device }) => device))].map((device) => {
    const parts = facts.disks.filter((disk) => disk.device === device);
    const needed = parts.reduce((sum, { use }) => sum + diskBytes[use], 0);
    return { parts, needed, free: Math.min(...parts.map(({ freeBytes }) => freeBytes)) };
  });
  const shown = disks.map(({ parts, needed, free }) => {
    const uses = parts.map(({ use }) => use).join(', ');
    return `${gib(free)} free for ${uses}; ${needed < 2 ** 26 ? 'almost nothing' : gib(needed)} needed`;
  });
  return { found: shown.join(' · '), problems: disks.flatMap(diskProblems) };
}

interface Disk {
  readonly parts: readonly DiskFact[];
  readonly needed: number;
  readonly free: number;
}

function diskProblems({ parts, needed, free }: Disk): HostProblem[] {
  if (free >= needed) return [];
  const paths = [...new Set(parts.map(({ path }) => path))];
  const message = `${paths.join(' and ')} ${paths.length > 1 ? 'have' : 'has'} ${gib(free)} free; ${gib(needed)} are needed`;
  return [hostFault(`too little disk: ${message}`, `free ${gib(needed - free)} there`)];
}

/** Whether the package mirror answers, where something must come from it. */
export function judgeMirror({ choices }: LabPlan, facts: HostFacts): HostFinding {
  const { missingArtifacts, missingPackages, networkReachable } = facts;
  const [wanted, must] =
    missingArtifacts.length > 0
      ? [missingArtifacts, choices.artifacts.value === 'online' ? 'fetched or built' : 'built']
      : [missingPackages.map(nameOf), 'installed'];
  if (wanted.length === 0) return skipped('nothing has to be built or installed');
  if (facts.unseen.mirror !== undefined) {
    return unseen('the package mirror', facts.unseen.mirror, 'apt-get update   (must work first)');
  }
  const found = `${networkReachable ? 'answers' : 'does not answer'}; to be ${must}: ${wanted.join(', ')}`;
  if (networkReachable) return { found };
  const [nobody, hint] =
    choices.artifacts.value === 'online'
      ? [
          'no internet: the publishers of these or the package mirror do not answer',
          'connect the host or set HTTPS_PROXY, or do without: npx labup --artifacts debian (or the folder of a bundle)',
        ]
      : [
          'no network: no package mirror answers',
          'connect the host, or check /etc/apt/sources.list and the proxy settings',
        ];
  return stopped(found, `${nobody}, and these must be ${must}: ${wanted.join(', ')}`, hint);
}

/** Whether the host's own programs are there; what is missing is installed by labup, once it is allowed to. */
export function judgePackages(_plan: LabPlan, facts: HostFacts): HostFinding {
  const { missingPackages, apt } = facts;
  if (missingPackages.length === 0) return { found: 'everything is installed' };
  const names = missingPackages.map((need) => need.package).join(' ');
  const found = `missing: ${missingPackages.map((need) => `${nameOf(need)} (${need.for})`).join(', ')}`;
  if (apt) {
    const byHand = missingPackages.some(({ or }) => or !== undefined)
      ? "sudo apt-get update   (apt's lists were never fetched here), then npx lab doctor"
      : `sudo apt-get install --no-install-recommends ${names}`;
    const hint = `labup asks and installs; by hand: ${byHand}`;
    return warned(found, found, hint);
  }
  const hint = `install what Debian calls ${names} with this system's package manager`;
  return stopped(found, `${found}; and there is no apt-get here`, hint);
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** A budget for one machine with room to spare, in bytes. */
interface Budget {
  readonly memory: number;
  readonly disk: number;
}

/** The default lab comes to 2.4 GiB. */
const CONTAINER_MEMORY: Readonly<Record<MachineRole, number>> = {
  'control-plane': 1024 * MIB,
  worker: 384 * MIB,
  router: 96 * MIB,
  client: 96 * MIB,
};
/** Containers share the image's blocks (copy on write) and add container images, logs and etcd's data. */
const CONTAINER_DISK = 256 * MIB;
/** A VM's disk grows with use: an Ubuntu 24.04 has about 2.3 GiB in use (multipass info) and adds as above. */
const VM_DISK = 3 * GIB;

function budgetOf({ choices, multipass }: LabPlan, role: MachineRole): Budget {
  const driver = choices.driver.value;
  // Machines that are reached over SSH are elsewhere.
  if (driver === 'ssh') return { memory: 0, disk: 0 };
  if (driver === 'incus') return { memory: CONTAINER_MEMORY[role], disk: CONTAINER_DISK };
  if (multipass === undefined) throw new Error('the plan has no sizes of virtual machines');
  const { memory, disk } = multipass.sizes[role];
  return { memory: bytesOf(memory), disk: Math.min(VM_DISK, bytesOf(disk)) };
}

/** A size as lab.yaml has it, "1.5G", in bytes. */
function bytesOf(size: string): number {
  const factors: Readonly<Record<string, number>> = { K: 1024, M: MIB, G: GIB };
  return Number.parseFloat(size) * (factors[size.slice(-1)] ?? 1);
}

/** Source tree, Go cache, package caches and the finished artifacts. */
const DISK_TO_BUILD = 6 * GIB;

/** What labup still needs from the host, in bytes. */
export interface HostNeeds {
  readonly memoryBytes: number;
  readonly diskBytes: Readonly<Record<DiskFact['use'], number>>;
}

/** The disk and memory for the machines that do not exist yet and the artifacts that must be built. */
export function hostNeeds(
  plan: LabPlan,
  facts: Pick<HostFacts, 'existingMachines' | 'missingArtifacts'>,
): HostNeeds {
  const missing = plan.machines.filter(({ name }) => !facts.existingMachines.includes(name));
  const budgets = missing.map(({ role }) => budgetOf(plan, role));
  return {
    memoryBytes: budgets.reduce((sum, { memory }) => sum + memory, 0),
    diskBytes: {
      // Logs and reports come on top, whenever labtest runs.
      state: missing.length > 0 ? MIB : 0,
      cache: facts.missingArtifacts.length > 0 ? DISK_TO_BUILD : 0,
      machines: budgets.reduce((sum, { disk }) => sum + disk, 0),
    },
  };
}

/** Bytes for a message, in GiB with one decimal. */
export function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
