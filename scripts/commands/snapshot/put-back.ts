import type { MachineDriver } from '../../machines/driver.ts';
import type { LabPlan } from '../../plan/types.ts';
import { PENDING_FILE } from '../../selftest/pending.ts';
import type { Emit } from '../../shared/events.ts';
import type { LabState } from '../state.ts';

/**
 * Puts back the disks of a snapshot and what this host knows of the lab; not all machines run afterwards. What selftest or a
 * scenario has still to undo is not in these disks. A note is kept meanwhile, by which labup finishes it after a kill.
 */
export async function putBackDisks(
  driver: MachineDriver,
  state: LabState,
  plan: LabPlan,
  name: string,
  emit: Emit,
): Promise<void> {
  await state.save('restoring', name);
  await driver.snapshots?.putBack(plan, name, emit);
  await state.removeFile(PENDING_FILE);
  const record = await state.load(`snapshots/${name}`);
  await state.save('plan', record?.plan ?? plan);
  await state.removeFile('restoring.json');
}

/** Finishes what a killed restore began: of some machines the disks may be put back, of others not. */
export async function finishRestore(
  driver: MachineDriver,
  state: LabState,
  plan: LabPlan,
  emit: Emit,
): Promise<void> {
  const name = await state.load('restoring');
  if (name === undefined) return;
  emit({ type: 'warning', text: `a restore was ended in its middle; putting back snapshot "${name}" again` });
  await putBackDisks(driver, state, plan, name, emit);
}
