import pLimit from 'p-limit';
import type { LabPlan } from '../../plan/types.ts';
import { LabFailure } from '../../shared/errors.ts';
import { type KeptDisk, notDone, onEach } from '../driver.ts';
import { listInstances, type MultipassHost, multipassOf } from './host.ts';
import { ensureRunning } from './instance.ts';

/** Every snapshot of the instances that are noted as the lab's. */
export async function listSnapshots(
  { client, registry }: Pick<MultipassHost, 'client' | 'registry'>,
  lab: string,
): Promise<readonly KeptDisk[]> {
  const noted = await registry.of(lab);
  const all = noted.size === 0 ? new Map<string, string[]>() : await client.snapshots();
  return [...noted.keys()].flatMap((machine) =>
    (all.get(machine) ?? []).map((snapshot) => ({ snapshot, machine })),
  );
}

/** Shuts all machines down, which alone makes their disks fit each other, and takes a snapshot of each. */
export async function saveSnapshot(host: MultipassHost, plan: LabPlan, name: string): Promise<void> {
  const machines = await ownMachines(host, plan);
  const running = machines.filter(({ state }) => state === 'Running').map((each) => each.name);
  host.emit({ type: 'note', text: `stopping ${running.join(', ')}` });
  if (running.length > 0) await host.exclusive(() => host.client.shutDown(running));
  const { failed } = await onEach(machines, (each) =>
    host.exclusive(() => host.client.takeSnapshot(each.name, name)),
  );
  if (failed.length > 0) throw notDone('Not saved', failed);
}

/** Powers all machines off, then puts back the disk of each. */
export async function putBackSnapshot(host: MultipassHost, plan: LabPlan, name: string): Promise<void> {
  const machines = await ownMachines(host, plan);
  const again = `npx lab snapshot restore ${name}`;
  const running = machines.filter(({ state }) => state !== 'Stopped');
  const stopped = await onEach(running, (each) => host.exclusive(() => host.client.powerOff(each.name)));
  if (stopped.failed.length > 0) throw notDone('Not stopped', stopped.failed, again);
  const back = await onEach(machines, (each) => host.exclusive(() => host.client.restore(each.name, name)));
  if (back.failed.length > 0) throw notDone('Not put back', back.failed, again);
}

/** Starts every machine that does not run. */
export async function startAll(host: MultipassHost, plan: LabPlan): Promise<void> {
  const machines = await ownMachines(host, plan);
  const limit = pLimit(multipassOf(plan).parallel);
  const { failed } = await onEach(machines, ({ name, state }) =>
    limit(() => ensureRunning(host, name, state)),
  );
  if (failed.length > 0) throw notDone('Not started', failed);
}

/** Removes this snapshot of every instance that has it. */
export async function removeSnapshot(host: MultipassHost, lab: string, name: string): Promise<void> {
  const holders = (await listSnapshots(host, lab)).filter(({ snapshot }) => snapshot === name);
  const { failed } = await onEach(
    holders.map(({ machine }) => ({ name: machine })),
    (each) => host.exclusive(() => host.client.removeSnapshot(each.name, name)),
  );
  if (failed.length > 0) throw notDone('Not removed', failed, `npx lab snapshot remove ${name}`);
}

/** The machines of the plan, all there and noted as the lab's. */
async function ownMachines(host: MultipassHost, plan: LabPlan) {
  const [listed, noted] = [await listInstances(host), await host.registry.of(plan.lab)];
  return plan.machines.map(({ name }) => {
    const seen = listed.get(name);
    if (seen !== undefined && noted.has(name)) return seen;
    throw new LabFailure(`${name} is not there, or not this lab's.`, { next: 'npx labup --yes' });
  });
}
