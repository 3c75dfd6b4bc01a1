import { movedParts } from '../matrix/state/fingerprint.ts';
import type { ObservedState } from '../matrix/state/types.ts';
import type { LabRun } from '../report/run.ts';
import { Interrupted, LabError, LabFailure, messageOf } from '../shared/errors.ts';
import type { Emit } from '../shared/events.ts';
import { waitFor } from '../shared/wait.ts';
import type { Action, Condition, Fault, InapplicableFault } from './fault.ts';
import { type Finding, judgeFault, redsOf } from './judge.ts';
import { type Pending, pendingText } from './pending.ts';

/** What a selftest needs of the lab. */
export interface Surroundings {
  /** Runs an action, whatever Ctrl-C says, and returns what it printed. */
  act(action: Action): Promise<string>;
  /** Connects again to a machine whose connection was lost. */
  reconnect(machine: string): Promise<void>;
  /** Writes down what is to be undone; undefined: nothing. */
  save(pending: string | undefined): Promise<void>;
  /** labtest on these cells; `during` runs between predicting and probing. */
  test(cells: readonly string[], during?: () => Promise<void>): Promise<LabRun>;
  /** What every machine and the API say, whatever Ctrl-C says. */
  state(): Promise<ObservedState>;
  readonly signal?: AbortSignal | undefined;
}

/** What became of one fault. */
export interface FaultResult {
  readonly id: string;
  readonly title: string;
  readonly verdict: 'found' | 'missed' | 'skipped';
  /** The sentence that told it, or why it was missed or skipped. */
  readonly text: string;
  readonly ms: number;
}

const EFFECT_TIMEOUT_MS = 20_000;
const UNDO_TIMEOUT_MS = 30_000;
const HEAL_TIMEOUT_MS = 45_000;
/** How often a fault is made that its owner puts right in between. */
const MOST_ATTEMPTS = 3;

/**
 * Makes a fault, lets labtest look, undoes it, and waits until the lab is as it was at the beginning. The fault is undone
 * whatever happens, also on Ctrl-C. One that cannot be made is missed; one that is not there any more when labtest looks
 * is made again. Throws LabFailure where it cannot be undone or the lab does not heal.
 */
export async function runFault(
  fault: Fault | InapplicableFault,
  lab: Surroundings,
  beginning: ObservedState,
  emit: Emit,
): Promise<FaultResult> {
  const { id, title } = fault;
  if ('skipped' in fault) return { id, title, verdict: 'skipped', text: fault.skipped, ms: 0 };
  const started = performance.now();
  const result = (verdict: FaultResult['verdict'], text: string): FaultResult => {
    return { id, title, verdict, text, ms: Math.round(performance.now() - started) };
  };
  let finding: Finding | Unmade;
  await lab.save(pendingText({ by: 'selftest', title, revert: fault.revert }));
  try {
    finding = await tryFault(fault, lab, emit);
  } finally {
    emit({ type: 'note', text: `${id}: undoing it` });
    await undo(fault, lab);
    await restored(fault, lab, beginning, emit);
    await lab.save(undefined);
  }
  await healed(fault, lab, emit);
  if ('unmade' in finding)
    return result('missed', `it could not be made, so nothing is known: ${finding.unmade}`);
  if ('healed' in finding) return result('skipped', finding.healed);
  return result(finding.found ? 'found' : 'missed', finding.text);
}

/** It was not there to be found: it could not be made, or its owner put it right each time before labtest had looked. */
type Unmade = { readonly unmade: string } | { readonly healed: string };

async function tryFault(fault: Fault, lab: Surroundings, emit: Emit): Promise<Finding | Unmade> {
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt += 1) {
    let problem: unknown;
    const make = () =>
      inject(fault, lab, emit).catch((error: unknown) => {
        problem = error;
        throw error;
      });
    try {
      if (fault.moment === 'before') await make();
      emit({ type: 'note', text: `${fault.id}: labtest looks` });
      const run = await lab.test(fault.cells, fault.moment === 'during' ? make : undefined);
      const finding = judgeFault(fault, run);
      if (finding.found || fault.stillThere === undefined) return finding;
      if (fault.stillThere.until.test(await lab.act(fault.stillThere))) return finding;
      emit({ type: 'note', text: `${fault.id}: it was put right before labtest had looked; once more` });
    } catch (error) {
      if (error !== problem || error instanceof Interrupted) throw error;
      return { unmade: [messageOf(error), ...(error instanceof LabError ? error.details : [])].join(' ') };
    }
  }
  return { healed: `${MOST_ATTEMPTS} times it was put right by its owner before labtest had looked` };
}

async function inject(fault: Fault, lab: Surroundings, emit: Emit): Promise<void> {
  for (const action of fault.inject) {
    if (lab.signal?.aborted) throw new Interrupted();
    await lab.act(action);
  }
  for (const condition of fault.effective ?? []) await effective(condition, lab, emit);
}

async function effective(condition: Condition, lab: Surroundings, emit: Emit): Promise<void> {
  await waitFor({
    what: condition.what,
    timeoutMs: EFFECT_TIMEOUT_MS,
    pollMs: 100,
    signal: lab.signal,
    emit,
    look: async () => {
      const { until } = condition;
      const said = await lab.act(condition).catch((error: unknown) => ({ failed: messageOf(error) }));
      const isReached = typeof said === 'string';
      if (isReached ? until !== 'unreachable' && until.test(said) : until === 'unreachable')
        return { done: true, value: undefined };
      return { done: false, why: isReached ? said.trim() || 'nothing was printed' : said.failed };
    },
  });
}

/** Runs what undoes a fault or a scenario, without listening to Ctrl-C; each action may take `timeoutMs`. Throws LabFailure that says what is left to be done. */
export async function undo(
  { title, revert }: Pick<Pending, 'title' | 'revert'>,
  lab: Pick<Surroundings, 'act' | 'reconnect'>,
  timeoutMs: number = UNDO_TIMEOUT_MS,
): Promise<void> {
  for (const action of revert) {
    await waitFor({
      what: `"${title}" to be undone on ${action.on}`,
      timeoutMs,
      look: async () => {
        await lab.act(action).catch(async (error: unknown) => {
          await lab.reconnect(action.on);
          throw error;
        });
        return { done: true, value: undefined };
      },
    }).catch((error: unknown) => {
      throw new LabFailure(`"${title}" could not be undone on ${action.on}, so the lab is broken.`, {
        details: [
          ...(error instanceof LabError ? error.details : [messageOf(error)]),
          `to be done there: ${action.argv.join(' ')}`,
        ],
        next: 'npx labtest   (tries again)',
        cause: error,
      });
    });
  }
}

/** The state is what it was, for however long routing needs; Ctrl-C does not end this. */
async function restored(
  fault: Fault,
  lab: Surroundings,
  beginning: ObservedState,
  emit: Emit,
): Promise<void> {
  await waitFor({
    what: `the lab to be as it was before fault ${fault.id}`,
    timeoutMs: HEAL_TIMEOUT_MS,
    emit,
    next: 'npx labtest   (undoes it again)',
    look: async () => {
      const [moved] = movedParts(beginning, await lab.state());
      return moved === undefined ? { done: true, value: undefined } : { done: false, why: moved };
    },
  });
}

/** What was red is right again. */
async function healed(fault: Fault, lab: Surroundings, emit: Emit): Promise<void> {
  await waitFor({
    what: `the lab to heal from fault ${fault.id}`,
    timeoutMs: HEAL_TIMEOUT_MS,
    signal: lab.signal,
    emit,
    next: 'npx labtest',
    look: async () => {
      const [red] = redsOf(await lab.test(fault.cells));
      return red === undefined
        ? { done: true, value: undefined }
        : { done: false, why: `${red.id}: ${red.text}` };
    },
  });
}
