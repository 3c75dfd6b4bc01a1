import type { LabSpec } from '../spec/types.ts';

/**
 * The same lab in less memory, for laptops: one worker fewer, and no routed client, for the router has the same routes
 * and is tested from too. A lab with one worker keeps it.
 */
export function smallLab(spec: LabSpec): LabSpec {
  const workers = spec.machines.filter(({ role }) => role === 'worker');
  const last = workers.length > 1 ? workers.at(-1) : undefined;
  const machines = spec.machines.filter(
    (machine) => machine !== last && !(machine.role === 'client' && machine.routed === true),
  );
  return { ...spec, machines };
}
