import type { Kubectl, KubectlAccess } from '../../cluster/kubectl.ts';
import { requireSameAddress } from '../../cluster/node-address.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { connectMachines, must, waitForCloudInit } from '../../machines/connect.ts';
import type { CloudInit, MachineDriver, MachineImage } from '../../machines/driver.ts';
import { planAt, requireFit } from '../../plan/found.ts';
import { type LabPlan, theMachine } from '../../plan/types.ts';
import {
  renderMetaData,
  renderNetworkConfig,
  renderUserData,
  renderVmUserData,
} from '../../render/cloud-init.ts';
import { packagesOf, renderSshdConfig } from '../../render/software.ts';
import type { Emit } from '../../shared/events.ts';
import type { Secrets } from '../../shared/secrets.ts';
import { noteReach } from '../access.ts';
import { type ApiAccess, openApi } from '../api-access.ts';
import type { Deps } from '../deps.ts';
import { undoPending } from '../selftest/undo-faults.ts';
import type { LabState } from '../state.ts';

/** What machines are made with, and what undoes the faults that a selftest left on them. */
interface Means {
  readonly image?: MachineImage | undefined;
  readonly secrets: Secrets;
  /** kubectl over the way that was found to the API server. */
  readonly kubectl: (way: KubectlWay) => Kubectl;
}

/** How kubectl reaches the API server. */
export type KubectlWay = Pick<KubectlAccess, 'via'>;

/** Connections to all machines of a lab, and its plan with every address in it. */
interface Machines {
  readonly machines: ReadonlyMap<string, RemoteMachine>;
  readonly plan: LabPlan;
  /** The way to the API server. */
  readonly api: ApiAccess;
}

/**
 * Makes every machine run, connects to it, and completes the plan with the addresses that were found, if it leaves these
 * to be found. Throws UserError, before anything in a machine is configured, where the lab cannot be at these addresses.
 */
export async function bringUpMachines(
  deps: Pick<Deps, 'connect' | 'driver' | 'signal'>,
  wanted: LabPlan,
  state: LabState,
  { image, secrets, kubectl }: Means,
  emit: Emit,
): Promise<{ readonly value: Machines; readonly changed: boolean }> {
  const { signal } = deps;
  const driver = await deps.driver(wanted.choices.driver.value);
  const cloudInit = cloudInitOf(wanted, driver, secrets);
  const clientKey = secrets.clientKey.publicKey.trim();
  const changed = await driver.ensureMachines(wanted, { image, cloudInit, clientKey }, emit);
  const plan = await withAddresses(driver, wanted, emit);
  const targets = await driver.reach(plan, secrets, emit);
  const machines = await connectMachines(targets, emit, signal, deps.connect);
  let api: ApiAccess | undefined;
  try {
    if (driver.usesCloudInit) await waitForCloudInit(machines, emit, signal);
    await noteReach(state, targets, secrets.clientKey.privateKey);
    await requireSameAddress(must(machines, theMachine(plan, 'control-plane').name), plan);
    api = await openApi(deps, plan, targets);
    await undoPending(state, kubectl(api.via), machines, emit);
    await state.savePlan(plan);
  } catch (error) {
    api?.close();
    for (const machine of machines.values()) machine.close();
    throw error;
  }
  return { value: { machines, plan, api }, changed };
}

async function withAddresses(driver: MachineDriver, wanted: LabPlan, emit: Emit): Promise<LabPlan> {
  const found = await driver.findAddresses?.(wanted, emit);
  if (found === undefined) return wanted;
  const plan = planAt(wanted, found);
  requireFit(plan);
  emit({ type: 'note', text: `the lab is in ${found.subnet}` });
  return plan;
}

function cloudInitOf(
  plan: LabPlan,
  { machines }: MachineDriver,
  secrets: Secrets,
): ReadonlyMap<string, CloudInit> {
  return new Map(
    plan.machines.map((machine) => [
      machine.name,
      {
        userData:
          machines === 'baked'
            ? renderUserData(plan, machine, secrets)
            : renderVmUserData(plan, secrets, packagesOf(machine, plan.choices), renderSshdConfig()),
        metaData: renderMetaData(plan, machine),
        networkConfig: renderNetworkConfig(plan, machine),
      },
    ]),
  );
}
