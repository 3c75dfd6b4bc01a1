import { distributionOf } from '../../cluster/choose-distribution.ts';
import { kubeconfigVia } from '../../cluster/kubeconfig.ts';
import { kubectlWith } from '../../cluster/kubectl.ts';
import { bootTimes, connectMachines, requireMachine } from '../../machines/connect.ts';
import type { MachineDriver } from '../../machines/driver.ts';
import { type LabPlan, theMachine } from '../../plan/types.ts';
import { UserError } from '../../shared/errors.ts';
import { type Emit, silent } from '../../shared/events.ts';
import { scaleTimeouts, TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';
import type { Boots } from '../../workloads/apply.ts';
import { cachedKubectl, noteReach, openApi } from '../access.ts';
import type { Deps } from '../deps.ts';
import { existingLab, type LabOptions } from '../lab-file.ts';
import type { Closing, SnapshotRecord } from '../state.ts';
import { type Step, Steps } from '../steps.ts';
import { openLab } from '../test/open-lab.ts';
import { podsNamed, readNodesAndPods, recreatePods, unready } from './cluster-state.ts';
import {
  type Cluster,
  type Keeper,
  keep,
  LABUP_SNAPSHOT,
  recordOf,
  removeOne,
  routesNotAsPlanned,
  type SnapshotInfo,
  snapshotsOf,
} from './kept.ts';
import { putBackDisks } from './put-back.ts';

/** The result of a command on one snapshot. */
export interface OneSnapshot {
  readonly lab: string;
  readonly snapshot: SnapshotInfo;
}

/** The result of a restore. */
export interface Restored extends OneSnapshot {
  readonly durationMs: number;
}

/** What the commands on snapshots work with. */
interface Start extends Keeper {
  readonly deps: Deps;
  readonly options: LabOptions;
  readonly name: string;
  readonly driver: MachineDriver;
  readonly closing: Closing;
}

/** Sessions do not always outlive that all machines stand still, or are stopped. */
const ROUTES: Step<Omit<Cluster, 'plan'> & { readonly deps: Deps; readonly record: SnapshotRecord }, object> =
  {
    id: 'routes',
    title: 'Sessions and routes',
    why: 'all as they were',
    run: async ({ deps, kubectl, machines, record }, emit) => {
      await waitUntilOnly(record.wrong, {
        what: 'the BGP sessions and routes of the snapshot',
        timeoutMs: TIMEOUTS.bgpEstablished,
        look: () => routesNotAsPlanned({ plan: record.plan, kubectl, machines }, deps.signal),
        next: 'npx labtest   (names every session and route that is wrong)',
        emit,
        signal: deps.signal,
      });
      return { changed: false };
    },
  };

/** lab snapshot save, in order. */
const SAVE_STEPS = new Steps<Start>()
  .step({
    id: 'look',
    title: 'The lab as it is',
    why: 'what is Ready and Established now must be so again after a restore',
    run: async ({ deps, options, closing }, emit) => {
      const lab = await openLab(deps, options, emit, { locked: true });
      closing.push(() => lab.close());
      const { kubectl, machines } = lab;
      const record = await recordOf(lab, await routesNotAsPlanned(lab, deps.signal));
      return { changed: false, record, kubectl, machines };
    },
  })
  .step({
    id: 'save',
    title: 'Disks of all machines',
    why: 'all as they are at one time',
    run: async ({ record, ...start }, emit) => {
      const { plan, name, snapshots } = start;
      const cost = await snapshots.cost(plan);
      if (cost !== undefined) emit({ type: 'warning', text: `this takes a while: ${cost}` });
      await keep(start, name, 'at-one-time', record, emit);
      return { changed: true };
    },
  });

/** How a lab whose machines are stopped comes back to what it was, in order. */
const BACK_STEPS = new Steps<Start & { readonly record: SnapshotRecord }>()
  .step({
    id: 'machines',
    title: 'Machines',
    why: 'started, reached over SSH',
    run: startMachines,
  })
  .step({
    id: 'ready',
    title: 'Nodes and pods',
    why: 'all Ready that were so when the snapshot was taken',
    run: async ({ deps, kubectl, machines, boots, record }, emit) => {
      await recreate({ plan: record.plan, kubectl, machines }, record.bare, emit, deps.signal);
      await waitUntilOnly(record.wrong, {
        what: 'the nodes and pods of the snapshot to be Ready',
        timeoutMs: TIMEOUTS.podsReady,
        look: async () => unready(await readNodesAndPods(kubectl), boots),
        next: 'npx lab status; npx lab kubectl get pods -A',
        emit,
        signal: deps.signal,
      });
      return { changed: true };
    },
  })
  .step(ROUTES);

/** lab snapshot restore and lab reset, in order. */
const RESTORE_STEPS = new Steps<Start & { readonly record: SnapshotRecord }>()
  .step({
    id: 'disks',
    title: 'Disks of all machines',
    why: 'all machines stopped, then their disks put back',
    run: async ({ driver, state, plan, name }, emit) => {
      await putBackDisks(driver, state, plan, name, emit);
      return { changed: true };
    },
  })
  .and(BACK_STEPS);

/** `lab snapshot save`: keeps the disks of all machines and what must be there again after a restore. */
export async function saveSnapshot(deps: Deps, name: string, options: LabOptions): Promise<OneSnapshot> {
  return onLab(deps, name, options, async (start) => {
    const { plan, snapshots } = start;
    const seen = (await snapshotsOf(start)).find((each) => each.name === name);
    if (seen?.complete)
      throw new UserError(`There is a snapshot "${name}" already.`, {
        next: `npx lab snapshot remove ${name}   (or choose another name)`,
      });
    if (seen !== undefined) await removeOne(start, name, silent);
    const steps = snapshots.stops ? SAVE_STEPS.and(BACK_STEPS) : SAVE_STEPS.step(ROUTES);
    await steps.run(start, deps.runSteps);
    return { lab: plan.lab, snapshot: required(await snapshotsOf(start), name, plan) };
  });
}

/** `lab snapshot restore`: back to a snapshot. Throws UserError before anything is touched where it cannot be restored. */
export async function restoreSnapshot(deps: Deps, name: string, options: LabOptions): Promise<Restored> {
  const started = performance.now();
  return onLab(deps, name, options, async (start) => {
    const { plan, state } = start;
    const snapshot = required(await snapshotsOf(start), name, plan);
    const record = await state.load(`snapshots/${name}`);
    if (!snapshot.complete || record === undefined) {
      const without = snapshot.missing.length > 0 ? `without ${snapshot.missing.join(', ')}` : 'half made';
      throw new UserError(`Snapshot "${name}" is incomplete (${without}) and cannot be restored.`, {
        next: `npx lab snapshot remove ${name}`,
      });
    }
    await RESTORE_STEPS.run({ ...start, record }, deps.runSteps);
    return { lab: plan.lab, snapshot, durationMs: Math.round(performance.now() - started) };
  });
}

/** `lab reset`: back to what labup made. Throws UserError where labup has not kept that. */
export async function resetLab(deps: Deps, options: LabOptions): Promise<Restored> {
  const start = await open(deps, LABUP_SNAPSHOT, options);
  if (!(await snapshotsOf(start)).some(({ name }) => name === LABUP_SNAPSHOT)) {
    const cost = await start.snapshots.cost(start.plan);
    throw new UserError('There is nothing to go back to: labup has taken no snapshot.', {
      details: cost === undefined ? [] : [`it takes none by itself here: ${cost}`],
      next: `npx lab snapshot save ${LABUP_SNAPSHOT}   (then "lab reset" goes back to that)`,
    });
  }
  return restoreSnapshot(deps, LABUP_SNAPSHOT, options);
}

/** `lab snapshot remove`: also what is incomplete. */
export async function removeSnapshot(deps: Deps, name: string, options: LabOptions): Promise<OneSnapshot> {
  return onLab(deps, name, options, async (start) => {
    const { plan } = start;
    const snapshot = required(await snapshotsOf(start), name, plan);
    await removeOne(start, name, silent);
    return { lab: plan.lab, snapshot };
  });
}

/** `lab snapshot list`: whole ones, and what killed commands left of others. */
export async function listSnapshots(
  deps: Deps,
  options: LabOptions,
): Promise<{ readonly lab: string; readonly snapshots: readonly SnapshotInfo[] }> {
  const start = await open(deps, '', options);
  return { lab: start.plan.lab, snapshots: await snapshotsOf(start) };
}

async function waitUntilOnly(
  known: readonly string[],
  {
    look,
    ...wait
  }: Omit<Parameters<typeof waitFor>[0], 'look'> & { readonly look: () => Promise<readonly string[]> },
): Promise<void> {
  await waitFor({
    ...wait,
    look: async () => {
      const wrong = (await look()).filter((each) => !known.includes(each));
      return wrong.length === 0
        ? { done: true, value: undefined }
        : { done: false, why: `not yet: ${wrong.slice(0, 5).join(', ')} (${wrong.length})` };
    },
  });
}

async function startMachines(
  { deps, driver, snapshots, state, record: { plan }, closing }: Start & { readonly record: SnapshotRecord },
  emit: Emit,
): Promise<{ readonly changed: boolean; readonly boots: Boots } & Omit<Cluster, 'plan'>> {
  await snapshots.start(plan, emit);
  const secrets = await state.requireSecrets();
  const targets = await driver.reach(plan, secrets, emit);
  const machines = await connectMachines(targets, emit, deps.signal, deps.connect);
  closing.push(() => {
    for (const machine of machines.values()) machine.close();
  });
  await noteReach(state, targets, secrets.clientKey.privateKey);
  const apiServer = requireMachine(machines, theMachine(plan, 'control-plane').name);
  // labup may have made another cluster since.
  const { kubeconfig } = await distributionOf(plan).readAdminAccess(apiServer);
  await state.write('kubeconfig', kubeconfigVia(kubeconfig, apiServer.address));
  const api = await openApi(deps, plan, targets);
  closing.push(() => api.close());
  const binary = await cachedKubectl(deps, state);
  const access = { binary, kubeconfig: state.path('kubeconfig'), ...api.via };
  const kubectl = kubectlWith(deps.local, access, deps.apiReader);
  return { changed: true, machines, kubectl, boots: await bootTimes(machines) };
}

/** Ends as soon as something listens there: a look from here would cost a kubectl each time. */
const LISTENS = 'until : < "/dev/tcp/$0/$1"; do sleep 0.1; done 2> /dev/null';

/** Makes the pods again that nothing starts, as soon as the API server does that: long before it says that it is ready. */
async function recreate(
  { plan, kubectl, machines }: Cluster,
  names: readonly string[],
  emit: Emit,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { hostname, port } = new URL(`https://${plan.kubernetes.apiServer}`);
  const apiServer = requireMachine(machines, theMachine(plan, 'control-plane').name);
  const wait = { timeoutMs: TIMEOUTS.apiServer, next: 'npx lab status; npx labup --yes', emit, signal };
  const pods = await waitFor({
    ...wait,
    what: 'the API server to answer',
    look: async () => {
      await apiServer.run(['timeout', '20', 'bash', '-c', LISTENS, hostname, port]);
      // Some questions that come while it starts are never answered.
      const seen = await readNodesAndPods(kubectl, { timeoutMs: 3_000 });
      return { done: true, value: podsNamed(seen, names) };
    },
  });
  await waitFor({
    ...wait,
    what: 'the API server to make the pods that nothing starts again',
    look: async () => ({ done: true, value: await recreatePods(kubectl, pods) }),
  });
}

const NAME = /^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/;

async function open(deps: Deps, name: string, options: LabOptions): Promise<Omit<Start, 'closing'>> {
  const { state, plan } = await existingLab(deps, options);
  scaleTimeouts(plan.timeouts?.scale);
  const driver = await deps.driver(plan.choices.driver.value);
  const { snapshots } = driver;
  if (snapshots === undefined)
    throw new UserError(
      `The ${driver.name} driver has no snapshots: the disks of the machines are not the lab's.`,
      { next: 'npx labdown --yes && npx labup --yes   (makes the lab anew)' },
    );
  return { deps, options, name, state, plan, driver, snapshots };
}

async function onLab<T>(
  deps: Deps,
  name: string,
  options: LabOptions,
  work: (start: Start) => Promise<T>,
): Promise<T> {
  if (!NAME.test(name))
    throw new UserError(`"${name}" is no name for a snapshot.`, {
      details: ['lower-case letters, digits and hyphens; first a letter, at most 40'],
    });
  const start = await open(deps, name, options);
  return start.state.locked('lab snapshot', (closing) => work({ ...start, closing }));
}

function required(all: readonly SnapshotInfo[], name: string, plan: LabPlan): SnapshotInfo {
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw new UserError(`Lab "${plan.lab}" has no snapshot "${name}".`, {
    details: all.length === 0 ? [] : [`it has: ${all.map((each) => each.name).join(', ')}`],
    next: `npx lab snapshot save ${name}`,
  });
}
