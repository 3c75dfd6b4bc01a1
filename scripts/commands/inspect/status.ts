import { observeBgp } from '../../bgp/checks/observe.ts';
import { kubectlWith } from '../../cluster/kubectl.ts';
import { loadSsh } from '../../exec/ssh-connection.ts';
import { connectMachines } from '../../machines/connect.ts';
import type { LabPlan } from '../../plan/types.ts';
import { messageOf } from '../../shared/errors.ts';
import { silent } from '../../shared/events.ts';
import { cachedKubectl, openApi, sshTargets } from '../access.ts';
import type { Deps } from '../deps.ts';
import { type LabOptions, labName, observeLab } from '../lab-file.ts';
import { LabState } from '../state.ts';
import { laterWishes } from '../up/load-plan.ts';

export interface MachineStatus {
  readonly name: string;
  readonly role: string;
  readonly address: string;
  readonly state: string;
  /** Kubernetes nodes only: Ready, NotReady or unknown. */
  readonly node?: string;
  /** BGP speakers only: established sessions of planned ones. */
  readonly sessions?: { readonly established: number; readonly planned: number };
}

export interface LabStatus {
  readonly schemaVersion: 1;
  readonly lab: string;
  readonly state: 'absent' | 'partial' | 'up';
  readonly machines: readonly MachineStatus[];
  /** What could not be looked at, and why. */
  readonly problems: readonly string[];
  /** Where lab.yaml says otherwise than the lab was made. */
  readonly differences: readonly string[];
}

/** `lab status`: what there is of the lab and how it is, without changing anything. */
export async function labStatus(deps: Deps, options: LabOptions): Promise<LabStatus> {
  const lab = labName(deps, options);
  const state = new LabState(deps.cwd, lab);
  const plan = await state.load('plan');
  const [things, differences] = await Promise.all([
    observeLab(deps, lab, plan),
    plan === undefined ? [] : laterWishes(deps, options, plan),
    // While the driver looks.
    loadSsh(),
  ]);
  if (plan === undefined) {
    const machines = things
      .filter(({ kind }) => kind === 'machine')
      .map(({ name, state: is }) => ({ name, role: 'unknown', address: 'unknown', state: is }));
    return {
      schemaVersion: 1,
      lab,
      state: things.length === 0 ? 'absent' : 'partial',
      machines,
      problems: [],
      differences: [],
    };
  }
  const running = things
    .filter(({ kind, state: is }) => kind === 'machine' && is === 'running')
    .map(({ name }) => name);
  const problems: string[] = [];
  const note = (error: unknown) => {
    problems.push(messageOf(error));
    return undefined;
  };
  const [nodes, sessions] = await Promise.all([
    nodeStates(deps, state, plan).catch(note),
    sessionStates(deps, state, plan, running).catch(note),
  ]);
  const machines = plan.machines.map(({ name, role, address }) => {
    const thing = things.find((each) => each.kind === 'machine' && each.name === name);
    const isNode = role === 'control-plane' || role === 'worker';
    const established = sessions?.get(name);
    return {
      name,
      role,
      address,
      state: thing?.state ?? 'absent',
      ...(isNode ? { node: nodes?.get(name) ?? 'unknown' } : {}),
      ...(established === undefined ? {} : { sessions: established }),
    };
  });
  const good = machines.every(
    (machine) =>
      machine.state === 'running' &&
      (machine.node ?? 'Ready') === 'Ready' &&
      (machine.sessions === undefined || machine.sessions.established === machine.sessions.planned),
  );
  return {
    schemaVersion: 1,
    lab,
    state: good && problems.length === 0 ? 'up' : 'partial',
    machines,
    problems,
    differences,
  };
}

interface NodeList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

async function nodeStates(deps: Deps, state: LabState, plan: LabPlan): Promise<ReadonlyMap<string, string>> {
  const binary = await cachedKubectl(deps, state);
  const api = await openApi(deps, plan, await sshTargets(deps, plan, state));
  try {
    const kubectl = kubectlWith(
      deps.local,
      { binary, kubeconfig: state.path('kubeconfig'), ...api.via },
      deps.apiReader,
    );
    const { items } = await kubectl.json<NodeList>(['get', 'nodes'], { timeoutMs: 10_000 });
    return new Map(
      items.map(({ metadata, status }) => {
        const ready = status.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
        return [metadata.name, ready ? 'Ready' : 'NotReady'];
      }),
    );
  } finally {
    api.close();
  }
}

async function sessionStates(
  deps: Deps,
  state: LabState,
  plan: LabPlan,
  running: readonly string[],
): Promise<ReadonlyMap<string, { established: number; planned: number }>> {
  // A machine that does not run would only be waited for.
  const all = await sshTargets(deps, plan, state);
  const targets = all.filter(({ name }) => running.includes(name));
  const machines = await connectMachines(targets, silent, deps.signal, deps.connect);
  try {
    const observed = await observeBgp(plan, machines, deps.signal);
    return new Map(
      [...observed].map(([name, { sessions }]) => {
        const planned = plan.bgp.peerings.filter(
          ({ a, b }) => a.machine === name || b.machine === name,
        ).length;
        const all = sessions.ok ? sessions.value : [];
        return [name, { established: all.filter((each) => each.state === 'Established').length, planned }];
      }),
    );
  } finally {
    for (const machine of machines.values()) machine.close();
  }
}
