import { type Cidr, contains, nthAddress, parseCidr, sizeOf } from '../shared/ip.ts';
import { labSchema, type ParsedSpec, SPEC_VERSION } from './schema.ts';
import type { LabSpec, MachineRole, MachineSpec } from './types.ts';

/** The machines of the default lab, by the number of their address in the subnet. */
const DEFAULT_MACHINES: readonly { name: string; role: MachineRole; number: number; routed?: boolean }[] = [
  { name: 'k8smaster1', role: 'control-plane', number: 30 },
  { name: 'k8sworker1', role: 'worker', number: 35 },
  { name: 'k8sworker2', role: 'worker', number: 36 },
  { name: 'k8sworker3', role: 'worker', number: 37 },
  { name: 'bgp', role: 'router', number: 39 },
  { name: 'routed', role: 'client', number: 40, routed: true },
  { name: 'ubuntu', role: 'client', number: 104, routed: false },
];

/** The values that absent keys take, apart from `machines` and `network.host`, which follow from the subnet. */
export const DEFAULTS: ParsedSpec = labSchema.parse({ version: SPEC_VERSION });

/** The default lab's machines moved into another subnet; undefined where it is too small for them. */
export function defaultMachines(subnet: Cidr): MachineSpec[] | undefined {
  const last = sizeOf(subnet.length) - 1;
  if (DEFAULT_MACHINES.some(({ number }) => number >= last)) return undefined;
  return DEFAULT_MACHINES.map(({ number, ...machine }) => ({
    ...machine,
    address: nthAddress(subnet, number),
  }));
}

/** The host's address on the bridge where the spec gives none: the subnet's first. */
export function defaultHost(subnet: Cidr): string {
  return nthAddress(subnet, 1);
}

/** Fills in what follows from other values. Call it only with a spec that has no problems. */
export function completeSpec(parsed: ParsedSpec): LabSpec {
  const subnet = parseCidr(parsed.network.subnet);
  if (subnet === undefined) throw new Error(`an unchecked subnet: ${parsed.network.subnet}`);
  const machines = parsed.machines ?? defaultMachines(subnet);
  if (machines === undefined) throw new Error(`an unchecked subnet, too small: ${parsed.network.subnet}`);
  return {
    ...parsed,
    network: { ...parsed.network, host: parsed.network.host ?? defaultHost(subnet) },
    machines: machines.map((machine) =>
      machine.role === 'client' ? { ...machine, routed: machine.routed ?? false } : machine,
    ),
  };
}

/** True if the address is one that a machine in the subnet can have: inside, and neither network nor broadcast. */
export function isHostAddress(subnet: Cidr, address: string): boolean {
  const ends = [nthAddress(subnet, 0), nthAddress(subnet, sizeOf(subnet.length) - 1)];
  return contains(subnet, address) && !ends.includes(address);
}
