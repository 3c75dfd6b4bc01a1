import type { MachineRole } from '../../spec/types.ts';
import type { DiskFact, HostFacts } from '../host-facts.ts';
import type { LabPlan } from '../types.ts';

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
