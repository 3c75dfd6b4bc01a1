import type { Check } from '../bgp/checks/check.ts';
import { checkBgp } from '../bgp/checks/judge.ts';
import { observeBgp } from '../bgp/checks/observe.ts';
import { type Kubectl, kubectlWith } from '../cluster/kubectl.ts';
import type { RemoteMachine } from '../exec/ssh.ts';
import { connectMachines } from '../machines/connect.ts';
import { buildCells } from '../matrix/cells.ts';
import { dnsChecks, judgeDns } from '../matrix/dns.ts';
import type { Endpoints } from '../matrix/endpoints.ts';
import { announcements } from '../matrix/network.ts';
import { ensureProbe, MACHINE_PROBE, POD_PROBE } from '../matrix/probe-files.ts';
import { readEndpoints } from '../matrix/read-endpoints.ts';
import { type MatrixResults, testCells } from '../matrix/test-cells.ts';
import type { Cell } from '../matrix/types.ts';
import { podProbe, probeVantage, type Vantage } from '../matrix/vantages.ts';
import { checkWorkloads } from '../matrix/workloads.ts';
import type { LabPlan } from '../plan/types.ts';
import type { LabRun } from '../report/run.ts';
import { HarnessError, Interrupted, LabError, messageOf } from '../shared/errors.ts';
import { sshTargets } from './access.ts';
import type { Deps } from './deps.ts';
import { labName } from './load-plan.ts';
import { LabState } from './state.ts';
import type { StepTitle } from './steps.ts';
import { cachedKubectl } from './tools.ts';

export interface TestOptions {
  readonly file: string;
  readonly name?: string | undefined;
}

/** labtest, in order. */
export const TEST_STEPS: readonly StepTitle[] = [
  { id: 'connect', title: 'Connect', why: 'SSH to every machine, state of the cluster from its API' },
  { id: 'bgp', title: 'BGP', why: 'sessions and routes at every speaker, down to the kernels' },
  { id: 'matrix', title: 'Connectivity and DNS', why: 'one probe call per vantage point, all at once' },
];

/** The result of a labtest: the run, and the cells that were planned. */
export interface TestResult {
  readonly run: LabRun;
  readonly planned: readonly Cell[];
}

/** `labtest`: reads the state, derives what must happen, probes it. Throws HarnessError where that cannot be done. */
export async function labtest(deps: Deps, options: TestOptions): Promise<TestResult> {
  const startedAt = new Date();
  const started = performance.now();
  const lab = labName(deps, options);
  const state = new LabState(deps.cwd, lab);
  const plan = await state.requirePlan();
  const secrets = await state.requireSecrets();
  const steps = deps.steps(TEST_STEPS);
  const kubectl = kubectlWith(deps.local, await cachedKubectl(deps), state.path('kubeconfig'));
  const targets = await sshTargets(deps.driver, plan, secrets);

  const { machines, endpoints } = await steps.run('connect', async (emit) => {
    const connecting = connectMachines(targets, emit, deps.signal, deps.connect);
    const value = await Promise.all([connecting, readEndpoints(kubectl, plan)])
      .then(async ([connected, seen]) => {
        await Promise.all([...connected.values()].map(ensureProbe));
        return { machines: connected, endpoints: seen };
      })
      .catch(async (error: unknown) => {
        closeAll(await connecting.catch(() => new Map<string, RemoteMachine>()));
        throw asHarness(error);
      });
    return { value, changed: true };
  });
  try {
    const bgp = await steps.run('bgp', async () => {
      const observed = await observeBgp(plan, machines, deps.signal);
      return { value: checkBgp(plan, announcements(plan, endpoints), observed), changed: true };
    });
    const planned = buildCells(plan, endpoints);
    const { results, dns } = await steps.run('matrix', async (emit) => {
      emit({ type: 'note', text: `${planned.length} cells` });
      return { value: await probeAll(deps, plan, endpoints, planned, machines, kubectl), changed: true };
    });
    const checks: readonly Check[] = [
      ...checkWorkloads(plan, endpoints),
      ...bgp,
      ...judgeDns(dnsChecks(plan, endpoints), dns),
    ];
    return {
      run: { lab, startedAt, durationMs: performance.now() - started, checks, cells: results },
      planned,
    };
  } finally {
    closeAll(machines);
  }
}

function closeAll(machines: ReadonlyMap<string, RemoteMachine>): void {
  for (const machine of machines.values()) machine.close();
}

async function probeAll(
  deps: Deps,
  plan: LabPlan,
  endpoints: Endpoints,
  cells: readonly Cell[],
  machines: ReadonlyMap<string, RemoteMachine>,
  kubectl: Kubectl,
): Promise<MatrixResults> {
  const pod = `pod/${plan.echo.clientPod.pod}`;
  const inPod = podProbe(
    [kubectl.binary, '--kubeconfig', kubectl.kubeconfig],
    { namespace: plan.echo.namespace, name: plan.echo.clientPod.pod },
    POD_PROBE,
  );
  const vantages: readonly Vantage[] = [
    ...[...machines].map(([name, machine]) => probeVantage(name, machine, MACHINE_PROBE, deps.signal)),
    probeVantage(pod, deps.local, inPod, deps.signal),
  ];
  const questions = dnsChecks(plan, endpoints).map(({ question }) => question);
  return testCells(cells, new Map(vantages.map((vantage) => [vantage.name, vantage])), { dns: questions });
}

// A lab that cannot be reached has not been tested: that is not a red cell.
function asHarness(error: unknown): LabError {
  if (error instanceof Interrupted) return error;
  return new HarnessError(`The lab could not be reached: ${messageOf(error)}`, {
    details: error instanceof LabError ? error.details : [],
    next: 'npx lab status; npx labup',
    cause: error,
  });
}
