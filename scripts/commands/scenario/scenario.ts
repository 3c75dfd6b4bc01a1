import { type Kubectl, kubectlWith } from '../../cluster/kubectl.ts';
import { ANY_CODE, CommandError } from '../../exec/executor.ts';
import { machinesOf } from '../../plan/types.ts';
import { SCENARIOS } from '../../scenarios/catalogue.ts';
import { FACT_KINDS, parseFacts } from '../../scenarios/facts.ts';
import { type Audience, runScenario, type ScenarioResult, type Stage } from '../../scenarios/run.ts';
import type { Need, Scenario } from '../../scenarios/scenario.ts';
import { undoOf } from '../../scenarios/undo.ts';
import type { Action } from '../../selftest/fault.ts';
import { KUBECTL } from '../../selftest/fault.ts';
import { PENDING_FILE, pendingText } from '../../selftest/pending.ts';
import { undo } from '../../selftest/run.ts';
import { HarnessError, LabFailure, messageOf, rethrowIfInterrupted, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { kubernetesMinor } from '../../shared/versions.ts';
import { waitFor } from '../../shared/wait.ts';
import type { Deps } from '../deps.ts';
import { existingLab, type LabOptions } from '../lab-file.ts';
import { runAction, uninterruptible } from '../selftest/undo-faults.ts';
import type { Closing } from '../state.ts';
import { Steps } from '../steps.ts';
import { type OpenLab, openLab } from '../test/open-lab.ts';

export interface ScenarioOptions extends LabOptions {
  readonly all?: boolean | undefined;
}

/** The result of `lab scenario run`. */
export interface ScenarioRun {
  readonly lab: string;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly scenarios: readonly ScenarioResult[];
}

/** Who is told what happens in a run. */
export interface RunAudience extends Audience {
  begins(scenario: Scenario): void;
  /** What is waited for. */
  readonly emit: Emit;
  ends(result: ScenarioResult): void;
}

/** A namespace goes when its pods are gone and its controllers have seen it. */
const REMOVE_MS = 90_000;
const COMMAND_MS = 30_000;

/** What a run works with. */
interface Start {
  readonly deps: Deps;
  readonly options: ScenarioOptions;
  readonly scenarios: readonly Scenario[];
  readonly audience: RunAudience;
  readonly closing: Closing;
}

/** lab scenario run, in order. The scenarios between these are shown by themselves. */
const OPEN = new Steps<Start>().step({
  id: 'open',
  title: 'The lab is up',
  why: 'and what earlier runs left is gone',
  run: async ({ deps, options, scenarios, closing }, emit) => {
    const lab = await openLab(deps, options, emit, { locked: true });
    closing.push(() => lab.close());
    await namespacesGone(lab.kubectl, scenarios, deps, emit);
    return { changed: false, lab };
  },
});

/** The scenarios of these names, in their order; all with `all`. Throws UserError for a name that there is none of, or without any. */
export function chooseScenarios(names: readonly string[], all: boolean | undefined): readonly Scenario[] {
  const details = SCENARIOS.map(({ name, title }) => `${name}: ${title}`);
  const unknown = names.filter((name) => !SCENARIOS.some((each) => each.name === name));
  if (unknown.length > 0)
    throw new UserError(`There is no scenario called ${unknown.join(', ')}.`, { details });
  if (all === true) return SCENARIOS;
  if (names.length === 0)
    throw new UserError('Which scenario?', { details, next: 'npx lab scenario run --all' });
  return names.map((name) => SCENARIOS.find((each) => each.name === name) as Scenario);
}

/**
 * `lab scenario run`: the scenarios one after another on the running lab. What they make is removed at the end, also on
 * Ctrl-C. Throws LabFailure where something cannot be removed.
 */
export async function runScenarios(
  deps: Deps,
  scenarios: readonly Scenario[],
  options: ScenarioOptions,
  audience: RunAudience,
): Promise<ScenarioRun> {
  const startedAt = new Date();
  const started = performance.now();
  const { state } = await existingLab(deps, options);
  return state.locked('lab scenario', async (closing) => {
    const { lab } = await OPEN.run({ deps, options, scenarios, audience, closing }, deps.runSteps);
    const results = await runAll(deps, lab, scenarios, audience);
    const durationMs = Math.round(performance.now() - started);
    return { lab: lab.plan.lab, startedAt, durationMs, scenarios: results };
  });
}

async function runAll(
  deps: Deps,
  lab: OpenLab,
  scenarios: readonly Scenario[],
  audience: RunAudience,
): Promise<readonly ScenarioResult[]> {
  const stage = stageOf(deps, lab, audience.emit);
  const has = await inventoryOf(lab);
  const calm = kubectlWith(uninterruptible(deps.local), lab.kubectl.access);
  const act = (action: Action) => runAction(action, calm, lab.machines);
  const takeAway = (revert: readonly Action[], title: string) =>
    undo(
      { title, revert },
      { act, reconnect: (machine) => (machine === KUBECTL ? Promise.resolve() : lab.reconnect(machine)) },
    );
  const begun: Scenario[] = [];
  const results: ScenarioResult[] = [];
  let isUndone = true;
  try {
    for (const scenario of scenarios) {
      audience.begins(scenario);
      const missing = missingOf(scenario.needs ?? [], has);
      if (missing !== undefined) {
        const { name, title, lesson } = scenario;
        results.push({ name, title, lesson, verdict: 'skipped', ...missing, steps: [], ms: 0 });
      } else {
        begun.push(scenario);
        // Those that have ended are in it as well: their namespaces go while the next ones run.
        const title = `what scenario ${begun.map(({ name }) => name).join(', ')} made`;
        await lab.state.write(
          PENDING_FILE,
          pendingText({ by: 'scenario', title, revert: begun.flatMap((each) => undoOf(lab.plan, each)) }),
        );
        isUndone = false;
        try {
          results.push(await runScenario(scenario, stage, audience));
        } finally {
          await takeAway(undoOf(lab.plan, scenario), `what scenario ${scenario.name} made`);
          isUndone = true;
        }
      }
      audience.ends(results.at(-1) as ScenarioResult);
    }
  } finally {
    // What could not be undone stays written down for the next command.
    if (isUndone) {
      await namespacesGone(calm, begun, deps, audience.emit);
      await lab.state.removeFile(PENDING_FILE);
    }
  }
  return results;
}

/** Waits until nothing of the scenarios is in the cluster. */
async function namespacesGone(
  kubectl: Kubectl,
  scenarios: readonly Scenario[],
  { signal }: Pick<Deps, 'signal'>,
  emit: Emit,
): Promise<void> {
  const names = scenarios.flatMap(({ namespaces }) => namespaces);
  if (names.length === 0) return;
  await waitFor({
    what: 'the namespaces of the scenarios to be removed',
    timeoutMs: REMOVE_MS,
    emit,
    // Ctrl-C has brought us here: what is being removed is waited for all the same.
    ...(signal?.aborted === true ? {} : { signal }),
    next: `npx lab kubectl get namespaces; npx lab kubectl delete namespace ${names[0]}`,
    look: async () => {
      const { stdout } = await kubectl.run([
        'get',
        'namespaces',
        ...names,
        '--ignore-not-found',
        '-o',
        'name',
      ]);
      const left = stdout.split('\n').filter((line) => line !== '');
      return left.length === 0 ? { done: true, value: undefined } : { done: false, why: left.join(', ') };
    },
  });
}

function stageOf(deps: Deps, { kubectl, machines, plan }: OpenLab, emit: Emit): Stage {
  const { signal, cwd } = deps;
  return {
    cwd,
    type: async ({ on, argv, input }) => {
      const options = {
        timeoutMs: COMMAND_MS,
        signal,
        okCodes: ANY_CODE,
        ...(input === undefined ? {} : { input }),
      };
      const place = on === KUBECTL ? kubectl : machines.get(on);
      if (place === undefined)
        throw new HarnessError(`There is no connection to ${on}.`, { next: 'npx lab status' });
      return place.run(argv, options).catch((error: unknown) => {
        rethrowIfInterrupted(error);
        if (error instanceof CommandError && error.outcome.exitCode !== null) {
          const { exitCode, stdout, stderr } = error.outcome;
          return { exitCode, stdout, stderr };
        }
        throw new HarnessError(messageOf(error), { cause: error });
      });
    },
    facts: async (namespaces) => {
      const texts = await Promise.all(
        namespaces.map(
          async (name) => (await kubectl.run(['get', FACT_KINDS, '-n', name, '-o', 'json'])).stdout,
        ),
      );
      return { plan, ...parseFacts(texts) };
    },
    watch: async (what, timeoutMs, look) => {
      let last: { readonly value: Awaited<ReturnType<typeof look>>['value'] } | undefined;
      let problem: unknown;
      await waitFor({
        what,
        timeoutMs,
        emit,
        signal,
        look: async () => {
          const { done, value, why } = await look().catch((error: unknown) => {
            problem = error;
            throw error;
          });
          problem = undefined;
          last = { value };
          return done ? { done, value } : { done, why };
        },
      }).catch((error: unknown) => {
        if (problem instanceof HarnessError) throw problem;
        if (!(error instanceof LabFailure) || last === undefined) throw error;
      });
      if (last === undefined) throw new Error(`nobody looked at ${what}`);
      return last.value;
    },
  };
}

/** What of scenarios' needs this lab has. */
interface Inventory {
  /** Images that every worker has. */
  readonly images: ReadonlySet<string>;
  readonly kubernetes: string;
  readonly proxyMode: string;
  readonly workers: number;
  readonly hasOutsider: boolean;
}

interface NodeImages {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly images?: readonly { readonly names?: readonly string[] }[] };
  }[];
}

async function inventoryOf({ kubectl, plan }: OpenLab): Promise<Inventory> {
  const { items } = await kubectl.json<NodeImages>(['get', 'nodes']);
  const [first = new Set<string>(), ...others] = items
    .filter(({ metadata }) =>
      plan.machines.some(({ name, role }) => role === 'worker' && name === metadata.name),
    )
    .map(({ status }) => new Set((status.images ?? []).flatMap(({ names }) => names ?? [])));
  const images = new Set([...first].filter((name) => others.every((other) => other.has(name))));
  const { version, proxyMode = 'iptables' } = plan.kubernetes;
  return {
    images,
    kubernetes: version,
    proxyMode,
    workers: machinesOf(plan, 'worker').length,
    hasOutsider: machinesOf(plan, 'client').some(({ routes }) => routes.length === 0),
  };
}

/** Why a scenario cannot run here, and what would let it run; undefined where it can. */
export function missingOf(
  needs: readonly Need[],
  { images, kubernetes, proxyMode, workers, hasOutsider }: Inventory,
): { readonly reason: string; readonly next: string } | undefined {
  for (const need of needs) {
    if ('image' in need && !images.has(need.image))
      return {
        reason: `the workers do not have the image ${need.image}`,
        next: 'npx labdown --yes && npx labup --yes   (with --artifacts DIR: a bundle that has it)',
      };
    if ('minor' in need && kubernetesMinor(kubernetes) < need.minor)
      return {
        reason: `it needs Kubernetes 1.${need.minor} or later, and this is ${kubernetes}`,
        next: 'npx labdown --yes && npx labup --artifacts online --yes',
      };
    if ('outsider' in need && !hasOutsider)
      return {
        reason: 'it needs a client without routes, and this lab has none',
        next: 'npx labdown --yes && npx labup --yes   (with a client in lab.yaml that has "routed: false")',
      };
    if ('workers' in need && workers < need.workers)
      return {
        reason: `it needs ${need.workers} workers, and this lab has ${workers}`,
        next: `npx labdown --yes && npx labup --yes   (with ${need.workers} workers in lab.yaml)`,
      };
    if ('proxyMode' in need && need.proxyMode !== proxyMode)
      return {
        reason: `it is about kube-proxy in mode ${need.proxyMode}, and this one is in mode ${proxyMode}`,
        next: `npx labdown --yes && npx labup --yes   (with kubernetes.proxyMode: ${need.proxyMode})`,
      };
  }
  return undefined;
}
