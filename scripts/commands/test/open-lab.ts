import { type Kubectl, kubectlWith } from '../../cluster/kubectl.ts';
import { CommandError } from '../../exec/executor.ts';
import { HostKeyError, type RemoteMachine, type SshTarget } from '../../exec/ssh.ts';
import { loadSsh } from '../../exec/ssh-connection.ts';
import { ensureProbe } from '../../matrix/probe-files.ts';
import { readNodes } from '../../matrix/state/read.ts';
import type { ClusterState } from '../../matrix/state/types.ts';
import { type LabPlan, machinesOf } from '../../plan/types.ts';
import {
  HarnessError,
  Interrupted,
  LabError,
  LabFailure,
  messageOf,
  rethrowIfInterrupted,
  UserError,
} from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { scaleTimeouts } from '../../shared/timeouts.ts';
import { cachedKubectl, openApi, sshTargets } from '../access.ts';
import type { Deps } from '../deps.ts';
import { type LabOptions, labName, observeLab } from '../lab-file.ts';
import { undoFaults, undoPending } from '../selftest/undo-faults.ts';
import { LabState } from '../state.ts';
import { laterWishes } from '../up/load-plan.ts';

/** A lab that is up, with everything that it takes to look at it. */
export interface OpenLab {
  readonly plan: LabPlan;
  readonly state: LabState;
  readonly kubectl: Kubectl;
  /** Those that answer; without the others the lab can be tested in part. */
  readonly machines: ReadonlyMap<string, RemoteMachine>;
  /** Connects again to a machine whose connection is lost. */
  reconnect(machine: string): Promise<void>;
  close(): void;
}

export interface NamespaceOption {
  /** Only these namespaces; without any what lab.yaml says. */
  readonly namespace?: readonly string[] | undefined;
}

/** The lab, of which only the chosen namespaces are tested. */
export function withNamespaces(lab: OpenLab, { namespace }: NamespaceOption): OpenLab {
  return namespace === undefined ? lab : { ...lab, plan: { ...lab.plan, test: { namespaces: namespace } } };
}

/** One attempt to connect, in milliseconds. A machine of a lab that is up answers within a fraction of it. */
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Opens a lab that must be up: connections to every machine, its API. What an earlier selftest left behind is undone.
 * Throws UserError where there is no lab or the kubeconfig is another cluster's, LabFailure where the lab is only half
 * up, HarnessError where it cannot be reached. `locked`: the command holds the lab's lock.
 */
export async function openLab(
  deps: Deps,
  options: LabOptions,
  emit: Emit,
  { locked = false }: { readonly locked?: boolean } = {},
): Promise<OpenLab> {
  const state = new LabState(deps.cwd, labName(deps, options));
  const plan = await state.requirePlan();
  scaleTimeouts(plan.timeouts?.scale);
  const targets = await sshTargets(deps, plan, state);
  const looked = requireMachines(deps, plan, targets);
  looked.catch(() => {});
  // Meanwhile, for a driver takes up to a tenth of a second:
  for (const text of await laterWishes(deps, options, plan))
    emit({ type: 'warning', text: `lab.yaml differs from the lab that is looked at: ${text}` });
  await loadSsh();
  await looked;
  const binary = await cachedKubectl(deps, state);
  if ((await state.read('kubeconfig')) === undefined)
    throw new UserError(`The lab's kubeconfig is missing from ${state.dir}.`, { next: 'npx labup --yes' });
  const api = await openApi(deps, plan, targets);
  const kubectl = kubectlWith(
    deps.local,
    { binary, kubeconfig: state.path('kubeconfig'), ...api.via },
    deps.apiReader,
  );
  const machines = new Map<string, RemoteMachine>();
  const connect = async (target: SshTarget) => {
    machines.get(target.name)?.close();
    machines.delete(target.name);
    machines.set(target.name, await deps.connect(target, CONNECT_TIMEOUT_MS));
  };
  const close = () => {
    api.close();
    for (const machine of machines.values()) machine.close();
  };
  try {
    await Promise.all([connectAll(targets, connect, emit), requireOwnCluster(kubectl, plan)]);
    if (machines.size === 0)
      throw new HarnessError('No machine of the lab accepts SSH, so nothing can be tested.', {
        next: 'npx lab status',
      });
    await (locked ? undoPending : undoFaults)(state, kubectl, machines, emit);
  } catch (error) {
    close();
    throw error;
  }
  return {
    plan,
    state,
    kubectl,
    machines,
    reconnect: async (name) => {
      const target = targets.find((each) => each.name === name);
      if (target === undefined) throw new Error(`no machine ${name}`);
      await connect(target);
    },
    close,
  };
}

/** Looks at what runs before connecting: a machine that does not run would only be waited for. */
async function requireMachines(deps: Deps, plan: LabPlan, targets: readonly SshTarget[]): Promise<void> {
  const things = (await observeLab(deps, plan.lab, plan)).filter(({ kind }) => kind === 'machine');
  const stateOf = (machine: string) => things.find(({ name }) => name === machine)?.state ?? 'absent';
  const down = plan.machines.filter(({ name }) => stateOf(name) !== 'running');
  if (down.length === 0) return;
  await requireJumpHosts(
    deps,
    targets.filter(({ name }) => stateOf(name) === 'unreachable'),
  );
  const details = down.map(({ name }) => `${name}: ${stateOf(name)}`);
  const next = 'npx labup --yes';
  if (down.length === plan.machines.length)
    throw new UserError(`Lab "${plan.lab}" is down: none of its machines runs.`, { details, next });
  throw new LabFailure(
    `Lab "${plan.lab}" is only half up: not running are ${down.length} of ${plan.machines.length} machines.`,
    { details, next },
  );
}

/** Machines that nobody can reach may be well, and their jump host not: connecting to one tells. */
async function requireJumpHosts(deps: Deps, unreachable: readonly SshTarget[]): Promise<void> {
  const behind = unreachable.filter(({ jump }) => jump !== undefined);
  const reasons = await Promise.all(
    behind.map((target) =>
      deps.connect(target, CONNECT_TIMEOUT_MS).then(
        (machine) => void machine.close(),
        (error: unknown) => error,
      ),
    ),
  );
  for (const reason of reasons) if (reason instanceof LabError) throw reason;
}

async function connectAll(
  targets: readonly SshTarget[],
  connect: (target: SshTarget) => Promise<void>,
  emit: Emit,
): Promise<void> {
  await Promise.all(
    targets.map((target) =>
      // A second attempt: under load a handshake can take longer than it may.
      connect(target)
        .catch((error: unknown) => {
          if (error instanceof HostKeyError || error instanceof Interrupted) throw error;
          return connect(target);
        })
        .catch((error: unknown) => {
          if (error instanceof LabError) throw error;
          emit({ type: 'warning', text: `${target.name} does not accept SSH: ${messageOf(error)}` });
        }),
    ),
  );
}

/** Puts the probe on every machine, unless it is there. A machine that does not take it says why in its cells. */
export async function prepareProbes({ machines }: OpenLab, emit: Emit): Promise<void> {
  await Promise.all(
    [...machines.values()].map((machine) =>
      ensureProbe(machine).catch((error: unknown) => {
        rethrowIfInterrupted(error);
        emit({
          type: 'warning',
          text: `the probe could not be put on ${machine.name}: ${messageOf(error)}`,
        });
      }),
    ),
  );
}

/** Asks the API server and makes sure that it is this lab's. */
async function requireOwnCluster(kubectl: Kubectl, plan: LabPlan): Promise<void> {
  const nodes = await readNodes(kubectl).catch((error: unknown) => {
    rethrowIfInterrupted(error);
    throw apiError(kubectl, plan, error);
  });
  const problem = foreignNodes(plan, { nodes });
  if (problem !== undefined) throw foreign(kubectl, plan, problem);
  const missing = machinesOf(plan, 'control-plane', 'worker').filter(
    ({ name }) => !nodes.some((node) => node.name === name),
  );
  if (missing.length > 0)
    throw new LabFailure(`Lab "${plan.lab}" is only half up: not every node has joined the cluster.`, {
      details: missing.map(({ name }) => `missing: ${name}`),
      next: 'npx labup --yes',
    });
}

/** What shows that a cluster is not the plan's: a node that is not planned, or one with another address. */
export function foreignNodes(
  plan: LabPlan,
  { nodes }: Pick<ClusterState, 'nodes'>,
): readonly string[] | undefined {
  const planned = new Map(
    machinesOf(plan, 'control-plane', 'worker').map(({ name, address }) => [name, address]),
  );
  const details = nodes.flatMap(({ name, addresses }) => {
    const address = planned.get(name);
    if (address === undefined) return [`it has a node ${name}, which is not planned`];
    if (addresses.includes(address)) return [];
    return [`its node ${name} has the address ${addresses.join(', ') || 'none'}, and not ${address}`];
  });
  return details.length === 0 ? undefined : details;
}

function foreign(kubectl: Kubectl, plan: LabPlan, details: readonly string[], cause?: unknown): UserError {
  return new UserError(`The kubeconfig is not that of lab "${plan.lab}".`, {
    details: [kubectl.access.kubeconfig, ...details],
    next: 'npx labup --yes   (writes it again)',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** What kubectl says when the server's certificate or the client's is another cluster's, or the file is damaged. */
const FOREIGN =
  /x509|certificate signed by unknown authority|Unauthorized|must be logged in|error loading config/i;

function apiError(kubectl: Kubectl, plan: LabPlan, error: unknown): LabError {
  const details = error instanceof LabError ? error.details : [];
  const said = error instanceof CommandError ? error.outcome.stderr.trim() : '';
  if (FOREIGN.test(said)) return foreign(kubectl, plan, said.split('\n'), error);
  return new HarnessError(`The API server of lab "${plan.lab}" does not answer: ${messageOf(error)}`, {
    details,
    next: 'npx lab status; npx labup --yes',
    cause: error,
  });
}
