import { kubectlWith } from '../../cluster/kubectl.ts';
import { buildCells } from '../../matrix/cells.ts';
import { movedParts } from '../../matrix/state/fingerprint.ts';
import { readState } from '../../matrix/state/read.ts';
import type { ObservedState } from '../../matrix/state/types.ts';
import type { LabRun } from '../../report/run.ts';
import type { Fault, InapplicableFault } from '../../selftest/fault.ts';
import { faultsFor } from '../../selftest/faults.ts';
import { notModelled, redsOf } from '../../selftest/judge.ts';
import { PENDING_FILE } from '../../selftest/pending.ts';
import { differences, type Picture, takePicture } from '../../selftest/picture.ts';
import { type FaultResult, runFault, type Surroundings } from '../../selftest/run.ts';
import { LabFailure, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { waitFor } from '../../shared/wait.ts';
import type { Deps } from '../deps.ts';
import { existingLab, type LabOptions } from '../lab-file.ts';
import type { Closing } from '../state.ts';
import { Steps, stepsWithin, unseenSteps } from '../steps.ts';
import { type OpenLab, openLab, prepareProbes } from '../test/open-lab.ts';
import { readLabState } from '../test/read-lab.ts';
import { testLab } from '../test/steps.ts';
import { runAction, uninterruptible } from './undo-faults.ts';

export interface SelftestOptions extends LabOptions {
  /** Ids of the faults to try; all of them by default. */
  readonly faults?: readonly string[] | undefined;
}

/** The result of a selftest. */
export interface SelftestResult {
  readonly lab: string;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly faults: readonly FaultResult[];
  /** What was not as at the beginning when all faults were undone, one line each. */
  readonly differs: readonly string[];
}

/**
 * How long routes and rules are given to be right, in milliseconds: a BGP daemon that was started again waits for its
 * neighbour's next try.
 */
const SETTLE_MS = 30_000;

/** What a selftest works with. */
interface SelftestStart {
  readonly deps: Deps;
  readonly options: SelftestOptions;
  readonly closing: Closing;
}

/** labtest selftest, in order. */
const SELFTEST_STEPS = new Steps<SelftestStart>()
  .step({
    id: 'healthy',
    title: 'The lab is right',
    why: 'a fault shows only where nothing else is wrong',
    run: async ({ deps, options, closing }, emit) => {
      const lab = await openLab(deps, options, emit, { locked: true });
      closing.push(() => lab.close());
      await prepareProbes(lab, emit);
      const { run, state } = await testLab(deps, lab, stepsWithin(emit), { patienceMs: SETTLE_MS });
      requireRight(run, 'The lab is not right to begin with, so a fault would prove nothing.');
      const picture = await takePicture(lab.machines, deps.signal);
      const scene = { plan: lab.plan, state, cells: buildCells(lab.plan, state), picture };
      const faults = chooseFaults(faultsFor(scene), options.faults);
      return { changed: false, lab, beginning: state, picture, faults };
    },
  })
  .step({
    id: 'faults',
    title: 'Faults',
    why: 'made one at a time, looked at by labtest, undone',
    run: async ({ deps, lab, beginning, faults }, emit) => {
      const surroundings = surroundingsOf(deps, lab);
      const results: FaultResult[] = [];
      for (const [index, fault] of faults.entries()) {
        emit({ type: 'note', text: `${index + 1} of ${faults.length}: ${fault.title}` });
        results.push(await runFault(fault, surroundings, beginning, emit));
      }
      return { changed: true, results };
    },
  })
  .step({
    id: 'restored',
    title: 'The lab is as it was',
    why: 'rules, routes and objects as at the beginning',
    run: async ({ deps, lab, beginning, picture }, emit) => {
      const differs = await differencesLeft(deps, lab, beginning, picture, emit);
      const { run } = await testLab(deps, lab, unseenSteps);
      const wrong = redsOf(run).map(({ id, text }) => `${id}: ${text}`);
      return { changed: false, differs: [...differs, ...wrong] };
    },
  });

/**
 * `labtest selftest`: makes known faults one at a time and sees whether labtest finds each, with the right sentence. Ends
 * where it began, also on Ctrl-C, and says what is not as it was. Throws LabFailure where the lab is not right to begin with
 * or a fault cannot be undone.
 */
export async function selftest(deps: Deps, options: SelftestOptions): Promise<SelftestResult> {
  const startedAt = new Date();
  const started = performance.now();
  const { state } = await existingLab(deps, options);
  const { lab, results, differs } = await state.locked('labtest selftest', (closing) =>
    SELFTEST_STEPS.run({ deps, options, closing }, deps.runSteps),
  );
  const durationMs = Math.round(performance.now() - started);
  return { lab: lab.plan.lab, startedAt, durationMs, faults: results, differs };
}

/** The faults of these ids, in the order of the catalogue. Throws UserError for an id that there is none of. */
export function chooseFaults(
  all: readonly (Fault | InapplicableFault)[],
  ids: readonly string[] | undefined,
): readonly (Fault | InapplicableFault)[] {
  if (ids === undefined || ids.length === 0) return all;
  const unknown = ids.filter((id) => !all.some((fault) => fault.id === id));
  if (unknown.length > 0)
    throw new UserError(`There is no fault called ${unknown.join(', ')}.`, {
      details: all.map(({ id, title }) => `${id}: ${title}`),
    });
  return all.filter(({ id }) => ids.includes(id));
}

function surroundingsOf(deps: Deps, lab: OpenLab): Surroundings {
  const { kubectl } = lab;
  const calm = kubectlWith(uninterruptible(deps.local), kubectl.access);
  return {
    act: (action) => runAction(action, calm, lab.machines),
    reconnect: (machine) => lab.reconnect(machine),
    save: async (pending) => {
      if (pending === undefined) await lab.state.removeFile(PENDING_FILE);
      else await lab.state.write(PENDING_FILE, pending);
    },
    test: async (ids, during) => {
      const { run } = await testLab(deps, lab, unseenSteps, {
        select: (cells) => cells.filter(({ id }) => ids.includes(id)),
        // A fault is looked at when it has come to effect.
        patienceMs: 0,
        ...(during === undefined ? {} : { beforeProbes: during }),
      });
      return run;
    },
    state: () => readState(calm, lab.plan, lab.machines),
    signal: deps.signal,
  };
}

/** Throws UserError where labtest cannot judge the lab, LabFailure where the lab is not right. */
export function requireRight(run: LabRun, message: string): void {
  const unmodelled = notModelled(run);
  if (unmodelled.length > 0)
    throw new UserError(
      'Selftest cannot begin: labtest does not know what must happen in this lab, so it would not see a fault.',
      {
        details: unmodelled,
        next: 'npx labtest   (tests what it can judge)',
      },
    );
  const reds = redsOf(run);
  if (reds.length > 0)
    throw new LabFailure(message, {
      details: reds.slice(0, 10).map(({ id, text }) => `${id}: ${text}`),
      next: 'npx labtest',
    });
}

/** Waits until every machine holds what it held, and returns what does not become so. */
async function differencesLeft(
  deps: Deps,
  lab: OpenLab,
  beginning: ObservedState,
  picture: Picture,
  emit: Emit,
): Promise<readonly string[]> {
  let left: readonly string[] = [];
  await waitFor({
    what: 'the lab to be as it was before the selftest',
    timeoutMs: SETTLE_MS,
    emit,
    signal: deps.signal,
    look: async () => {
      const now = await readLabState(deps, lab);
      left = [
        ...movedParts(beginning, now),
        ...differences(picture, await takePicture(lab.machines, deps.signal)),
      ];
      const [first] = left;
      return first === undefined ? { done: true, value: undefined } : { done: false, why: first };
    },
  }).catch((error: unknown) => {
    if (!(error instanceof LabFailure) || left.length === 0) throw error;
  });
  return left;
}
