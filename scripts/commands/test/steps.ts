import type { Check } from '../../bgp/checks/check.ts';
import type { BgpObservation } from '../../bgp/checks/observe.ts';
import { kubectlCommand } from '../../cluster/kubectl.ts';
import { investigate } from '../../diagnostics/investigate.ts';
import { checkAffinity, planAffinity } from '../../matrix/affinity.ts';
import { buildCells, type MatrixOptions } from '../../matrix/cells.ts';
import { readFlows } from '../../matrix/conntrack.ts';
import { dnsChecks, judgeDns, policedDns } from '../../matrix/dns.ts';
import { checkHashPolicies, judgeEcmp, planEcmp, wrongOnce } from '../../matrix/ecmp.ts';
import { networkOf } from '../../matrix/expect/network-state.ts';
import { checkFullSize } from '../../matrix/full-size.ts';
import { blockCells, layerDns } from '../../matrix/layer-cells.ts';
import { MACHINE_PROBE, POD_PROBE } from '../../matrix/probe-files.ts';
import { machineSource, type ProbeSource, podProbe } from '../../matrix/probe-sources.ts';
import { readServerLogs } from '../../matrix/proof-logs.ts';
import type { ObservedState } from '../../matrix/state/types.ts';
import { runTracked, testCells } from '../../matrix/test-cells.ts';
import type { Cell } from '../../matrix/types.ts';
import type { BgpTable, LabRun } from '../../report/run.ts';
import type { Deps } from '../deps.ts';
import { type RunSteps, Steps, type StepTiming, timed } from '../steps.ts';
import type { OpenLab } from './open-lab.ts';
import {
  countersOf,
  keepsMoving,
  lookWhenConverged,
  movedSince,
  PATIENCE_MS,
  type Reading,
  waitUntilAtRest,
} from './read-lab.ts';
import { saveEvidence, type TestResult } from './reports.ts';

/** What one test covers. */
export interface RunOptions extends MatrixOptions {
  /** Chooses among the cells of the matrix; all of them by default. */
  readonly select?: (cells: readonly Cell[]) => readonly Cell[];
  /** Called when the cells are known and before any is tried. */
  readonly onPlanned?: (planned: readonly Cell[]) => void;
  /** Called between predicting and probing. */
  readonly beforeProbes?: () => Promise<void>;
  /** How long what is wrong with routes and rules is given to become right, in milliseconds. */
  readonly patienceMs?: number;
}

/** What a test works with. */
interface TestStart {
  readonly deps: Deps;
  readonly options: RunOptions;
  readonly lab: OpenLab;
}

/** One test of an open lab, in order. Where the state moves meanwhile, everything is predicted and probed once more. */
export const RUN_STEPS = new Steps<TestStart>()
  .step({
    id: 'bgp',
    title: 'State and BGP',
    why: 'what every machine and the API say, down to the kernels',
    run: async ({ deps, lab, options }, emit) => {
      const clock = { startedAt: new Date(), started: performance.now() };
      const first = await lookWhenConverged(deps, lab, options.patienceMs ?? PATIENCE_MS, emit);
      return { changed: true, first, clock };
    },
  })
  .step({
    id: 'matrix',
    title: 'Connectivity, DNS and ECMP',
    why: 'one probe call per source, all at once',
    run: async ({ deps, lab, options, first }) => ({
      changed: true,
      tested: await testState(deps, lab, first, options),
    }),
  })
  .step({
    id: 'moved',
    title: 'State again',
    why: 'what was predicted must still be what is there',
    run: async ({ deps, lab, options, first, tested }, emit) => {
      const moved = await movedSince(deps, lab, first.state);
      if (moved.length === 0) return { changed: true, moved, seen: first, results: tested };
      emit({ type: 'note', text: `predicted again, because the lab changed: ${moved.join('; ')}` });
      await waitUntilAtRest(deps, lab);
      const seen = await lookWhenConverged(deps, lab, options.patienceMs ?? PATIENCE_MS, emit);
      const results = await testState(deps, lab, seen, options);
      const again = await movedSince(deps, lab, seen.state);
      if (again.length > 0) throw keepsMoving(again);
      return { changed: true, moved, seen, results };
    },
  })
  .step({
    id: 'evidence',
    title: 'Evidence',
    why: 'what is wrong is tried once more, and every hop watched',
    run: async ({ deps, lab, clock, seen, results }) => ({
      changed: true,
      cells: await investigate({
        state: seen.state,
        results: results.cells,
        probeSources: results.probeSources,
        machines: lab.machines,
        save: (name, content) => saveEvidence(lab.state, clock.startedAt, name, content),
        signal: deps.signal,
      }),
    }),
  });

/** All that a test came to. */
type Ended = Awaited<ReturnType<typeof RUN_STEPS.run>>;

/**
 * Tests an open lab once: reads its state, derives what must happen, probes it, and reads the state again. Returns the
 * state with the result. Throws HarnessError where the lab keeps changing.
 */
export async function testLab(
  deps: Deps,
  lab: OpenLab,
  runSteps: RunSteps,
  options: RunOptions = {},
): Promise<TestResult & { readonly state: ObservedState }> {
  const timings: StepTiming[] = [];
  const ended = await RUN_STEPS.run({ deps, lab, options }, timed(runSteps, timings));
  return { ...resultOf(ended, timings), state: ended.seen.state };
}

/** What a test came to, as a run. */
export function resultOf(
  { lab, clock, seen, moved, results, cells }: Ended,
  timings: readonly StepTiming[],
): TestResult {
  const { planned, matrixSize, checks } = results;
  return {
    planned,
    run: {
      lab: lab.plan.lab,
      startedAt: clock.startedAt,
      durationMs: performance.now() - clock.started,
      checks,
      cells,
      plan: lab.plan,
      bgpTables: tablesOf(seen.bgp),
      timings: timings
        .filter(({ step }) => RUN_STEPS.titles.some(({ id }) => id === step))
        .map(({ step, ms }) => ({ step, ms })),
      ...(planned.length === matrixSize ? {} : { chosenFrom: matrixSize }),
      ...(moved.length === 0 ? {} : { moved }),
    },
  };
}

interface Tested {
  readonly planned: readonly Cell[];
  /** How many cells there are to choose from. */
  readonly matrixSize: number;
  readonly checks: readonly Check[];
  readonly cells: LabRun['cells'];
  readonly probeSources: ReadonlyMap<string, ProbeSource>;
}

/** Predicts and probes one state. */
async function testState(deps: Deps, lab: OpenLab, seen: Reading, options: RunOptions): Promise<Tested> {
  const { plan } = lab;
  const { state, layered } = seen;
  const { select = (cells) => cells } = options;
  const started = new Date();
  const matrix = blockCells(plan, state, layered, buildCells(plan, state, options));
  const planned = select(matrix);
  options.onPlanned?.(planned);
  await options.beforeProbes?.();
  const probeSources = probeSourcesOf(deps, lab);
  const questions = dnsChecks(plan, state, policedDns(plan, state));
  const flows = planEcmp(plan, state, planned);
  const tracking = {
    flows: () => readFlows([...lab.machines.keys()], lab.machines, { signal: deps.signal }),
    nodeOf: networkOf(state).nodeOf,
  };
  const [{ results, dns, sizes }, { cells: flowResults }] = await Promise.all([
    testCells(planned, probeSources, {
      dns: questions.map(({ question }) => question),
      witnesses: {
        state,
        before: seen.counters,
        counters: () => countersOf(deps, lab),
        logs: () => readServerLogs(lab.kubectl, plan.echo.namespace, started, deps.signal),
      },
      tracking,
      signal: deps.signal,
    }),
    runTracked(
      flows.flatMap((each) => each.flows),
      probeSources,
      { tracking },
    ),
  ]);
  const affinity = planAffinity(state, results);
  const { cells: again } = await runTracked(
    [...affinity.flatMap((each) => each.flows), ...wrongOnce(flows, flowResults)],
    probeSources,
    { tracking },
  );
  const names = layerDns(judgeDns(questions, dns), results);
  return {
    planned,
    matrixSize: matrix.length,
    checks: [
      ...layered.checks,
      ...names.checks,
      ...checkHashPolicies(plan, state),
      ...flows.map((each) => judgeEcmp(each, state, flowResults, again)),
      ...checkAffinity(state, affinity, again),
      ...checkFullSize(plan, state, results, sizes),
    ],
    cells: names.results,
    probeSources,
  };
}

/** Where probes run: every machine that answers, and the client pod. */
export function probeSourcesOf(
  deps: Deps,
  { plan, kubectl, machines }: OpenLab,
): ReadonlyMap<string, ProbeSource> {
  const { pod, namespace } = { pod: plan.echo.clientPod.pod, namespace: plan.echo.namespace };
  const inPod = podProbe(kubectlCommand(kubectl.access), { namespace, name: pod }, POD_PROBE);
  const probeSources: readonly ProbeSource[] = [
    ...[...machines].map(([name, machine]) => machineSource(name, machine, MACHINE_PROBE, deps.signal)),
    machineSource(`pod/${pod}`, deps.local, inPod, deps.signal),
  ];
  return new Map(probeSources.map((probeSource) => [probeSource.name, probeSource]));
}

function tablesOf(observed: ReadonlyMap<string, BgpObservation>): readonly BgpTable[] {
  return [...observed].flatMap(([machine, { tables }]) =>
    tables.flatMap(({ name, table }) =>
      table.ok
        ? [
            {
              machine,
              table: name,
              routes: [...table.value].map(([prefix, nextHops]) => ({ prefix, nextHops })),
            },
          ]
        : [],
    ),
  );
}
