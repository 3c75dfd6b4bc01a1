import { distributionOf } from '../../cluster/choose-distribution.ts';
import type { Credentials } from '../../cluster/distribution.ts';
import { makeCredentials, makesCredentials } from '../../cluster/kubeadm-credentials.ts';
import { kubectlWith } from '../../cluster/kubectl.ts';
import { requireSameAddress } from '../../cluster/node-address.ts';
import { newSecrets } from '../../exec/keys.ts';
import type { RemoteMachine } from '../../exec/ssh.ts';
import { reachMachines, requireMachine } from '../../machines/connect.ts';
import { ensureSoftware } from '../../machines/deliver.ts';
import type { CloudInit, MachineDriver } from '../../machines/driver.ts';
import { type HostWork, installPackages } from '../../machines/packages.ts';
import { problemsOf } from '../../plan/doctor/checks.ts';
import { planAt, requireFit } from '../../plan/found.ts';
import { hostError, type MissingPackage } from '../../plan/host-facts.ts';
import { filesOf } from '../../plan/software.ts';
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
import { gate } from '../../shared/wait.ts';
import { type ApiAccess, noteReach, openApi } from '../access.ts';
import { artifactsOf, type Deps, type LabArtifacts } from '../deps.ts';
import { undoPending, uninterruptible } from '../selftest/undo-faults.ts';
import { finishRestore } from '../snapshot/put-back.ts';
import type { Closing, LabState } from '../state.ts';
import { preflight } from './preflight.ts';

/** What labup starts its steps with. */
export interface UpStart {
  readonly deps: Deps;
  readonly driver: MachineDriver;
  /** From the step `machines` on with every address in it. */
  readonly plan: LabPlan;
  readonly state: LabState;
  /** What this host has to do, and the Debian packages that it lacks for it. */
  readonly work: HostWork;
  readonly packages: readonly MissingPackage[];
  readonly closing: Closing;
}

/** What there is before the machines. */
export interface Host {
  readonly secrets: Secrets;
  /** The credentials of a cluster that is made now; absent where nodes get them by joining. Made once, when first asked for. */
  readonly credentials?: (() => Promise<Credentials>) | undefined;
}

/** What there is once the machines run. */
export interface Machines extends Host {
  /** A connection to each, by name. */
  readonly machines: ReadonlyMap<string, RemoteMachine>;
  readonly plan: LabPlan;
  /** The connection to the API server. */
  readonly api: ApiAccess;
}

/** Installs what this host lacks. Throws UserError where the host then turns out not to be able to carry the lab. */
export async function ensureHostPackages({ deps, plan, work, packages }: UpStart, emit: Emit) {
  if (packages.length === 0) return { changed: false };
  await installPackages(deps.local, () => deps.host.missingPackages(work), emit);
  // Without these programs not everything could be looked at.
  const found = hostError(problemsOf((await preflight(deps, plan, plan)).checks));
  if (found !== undefined) throw found;
  return { changed: true };
}

/** Makes or gets everything that the lab is made from. */
export async function ensureArtifacts({ deps, driver, plan }: UpStart, emit: Emit) {
  const source = await deps.artifacts(artifactsOf(plan));
  const { artifacts, changed } = await source.ensure(driver.machines, emit, deps.signal);
  if (driver.machines === 'plain' || source.forNodes === undefined) return { artifacts, changed };
  const whole = await source.forNodes(artifacts, emit, deps.signal);
  return { artifacts: whole.artifacts, changed: changed || whole.changed };
}

/** Makes the host able to carry the machines, and meanwhile the credentials of a new lab's cluster. */
export async function ensureHost(
  { deps, driver, plan, state, artifacts }: UpStart & { readonly artifacts: LabArtifacts },
  emit: Emit,
): Promise<Host & { readonly changed: boolean }> {
  const isNew = (await state.load('secrets')) === undefined;
  const secrets = await ensureSecrets(state, plan);
  const kubeadm = filesOf(artifacts.software, 'kubeadm')[0]?.path;
  let made: Promise<Credentials> | undefined;
  // On machines of this host: what runs there runs here.
  const credentials =
    driver.machines === 'prebuilt' && kubeadm !== undefined && makesCredentials(plan)
      ? () => (made ??= makeCredentials(deps.local, kubeadm, state.path('pki'), plan, secrets))
      : undefined;
  // Whoever asks for them is told how it ended.
  if (isNew) credentials?.().catch(() => {});
  const host = await driver.ensureHost(plan, emit);
  const imported = await driver.ensureImage(plan, artifacts.image, emit);
  return { changed: host || imported, secrets, credentials };
}

/**
 * Makes every machine run, connects to it, and completes the plan with the addresses that were found, if it leaves these
 * to be found. Throws UserError, before anything in a machine is configured, where the lab cannot be at these addresses.
 */
export async function bringUpMachines(
  have: UpStart & Host & { readonly artifacts: LabArtifacts },
  emit: Emit,
): Promise<Omit<Machines, keyof Host> & { readonly changed: boolean }> {
  const { deps, driver, plan: wanted, state, artifacts, closing, secrets } = have;
  const { image } = artifacts;
  const cloudInit = cloudInitOf(wanted, driver, secrets);
  const clientKey = secrets.clientKey.publicKey.trim();
  await finishRestore(driver, state, wanted, emit);
  const gates = new Map(wanted.machines.map(({ name }) => [name, gate()] as const));
  let changed: boolean | undefined;
  const open = (name: string) => gates.get(name)?.open();
  const made = driver.ensureMachines(wanted, { image, cloudInit, clientKey }, emit, open).then(
    (result) => {
      changed = result;
      for (const each of gates.values()) each.open();
    },
    (error: unknown) => {
      for (const each of gates.values()) each.fail(error);
      throw error;
    },
  );
  made.catch(() => {});
  // Where they are is not always known before they run.
  const isKnown = driver.machines === 'prebuilt';
  if (!isKnown) await made;
  const plan = await withAddresses(driver, wanted, emit);
  const targets = await driver.reach(plan, secrets, emit);
  const machines = reachMachines(
    targets,
    async (name) => gates.get(name)?.passed,
    driver.usesCloudInit,
    emit,
    deps.signal,
    deps.connect,
  );
  closing.push(() => {
    for (const machine of machines.values()) machine.close();
  });
  const { name: first } = theMachine(plan, 'control-plane');
  await Promise.all(
    [...machines.values()].map(({ name, reached }) => (isKnown && name !== first) || reached),
  );
  await noteReach(state, targets, secrets.clientKey.privateKey);
  await requireSameAddress(requireMachine(machines, first), plan);
  const api = await openApi(deps, plan, targets);
  closing.push(() => api.close());
  const kubectl = kubectlWith(uninterruptible(deps.local), {
    binary: artifacts.kubectl,
    kubeconfig: state.path('kubeconfig'),
    ...api.via,
  });
  await undoPending(state, kubectl, machines, emit);
  await state.save('plan', plan);
  // Where they are not all made by now something had to be.
  return { changed: changed ?? true, machines, plan, api };
}

/** Whether machines get software over SSH, because they come plain or their image was made without it. */
export function needsSoftware({ machines }: Pick<MachineDriver, 'machines'>, { choices }: LabPlan): boolean {
  return machines === 'plain' || choices.artifacts.value !== 'debian';
}

/** Puts packages, container runtime and Kubernetes on every machine. */
export async function installSoftware(
  { driver, plan, machines, artifacts }: UpStart & Machines & { readonly artifacts: LabArtifacts },
  emit: Emit,
) {
  const distribution = distributionOf(plan);
  const changed = await Promise.all(
    plan.machines.map(async (planned) => {
      const machine = requireMachine(machines, planned.name);
      const common = driver.machines === 'plain' && (await ensureSoftware(machine, plan, planned, emit));
      return (await distribution.install(machine, planned, artifacts.software, emit)) || common;
    }),
  );
  return { changed: changed.includes(true) };
}

async function ensureSecrets(state: LabState, plan: LabPlan): Promise<Secrets> {
  const saved = await state.load('secrets');
  if (saved !== undefined) return saved;
  const secrets = newSecrets(
    plan.lab,
    plan.machines.map(({ name }) => name),
  );
  await state.save('secrets', secrets);
  return secrets;
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
          machines === 'prebuilt'
            ? renderUserData(plan, machine, secrets)
            : renderVmUserData(plan, secrets, packagesOf(machine, plan.choices), renderSshdConfig()),
        metaData: renderMetaData(plan, machine),
        networkConfig: renderNetworkConfig(plan, machine),
      },
    ]),
  );
}
