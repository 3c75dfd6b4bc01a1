import type { HostFacts } from './host-facts.ts';
import type { LabPlan, MachinePlan } from './types.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** A budget per machine with room to spare, in bytes: the default lab comes to 2.4 GiB. */
const MEMORY_PER_ROLE = {
  'control-plane': 1024 * MIB,
  worker: 384 * MIB,
  router: 96 * MIB,
  client: 96 * MIB,
} as const;

/** Machines share the image's blocks (copy on write) and add container images, logs and etcd's data. */
const DISK_PER_MACHINE = 256 * MIB;
/** Source tree, Go cache, package caches and the finished artifacts. */
const DISK_TO_BUILD = 6 * GIB;

/** What labup still needs from the host, in bytes. */
export interface HostNeeds {
  readonly diskBytes: number;
  readonly memoryBytes: number;
}

/** The disk and memory for the machines that do not exist yet and the artifacts that must be built. */
export function hostNeeds(
  plan: LabPlan,
  facts: Pick<HostFacts, 'existingMachines' | 'missingArtifacts'>,
): HostNeeds {
  const missing = plan.machines.filter(({ name }) => !facts.existingMachines.includes(name));
  const memory = (sum: number, { role }: MachinePlan) => sum + MEMORY_PER_ROLE[role];
  return {
    memoryBytes: missing.reduce(memory, 0),
    diskBytes: missing.length * DISK_PER_MACHINE + (facts.missingArtifacts.length > 0 ? DISK_TO_BUILD : 0),
  };
}

/** Bytes for a message, in GiB with one decimal. */
export function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
