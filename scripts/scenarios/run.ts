import { quoteArgv } from '../exec/executor.ts';
import { type Action, KUBECTL } from '../selftest/fault.ts';
import { HarnessError, messageOf, rethrowIfInterrupted } from '../shared/errors.ts';
import { judged } from './answers.ts';
import type { Facts } from './facts.ts';
import {
  type Expectation,
  type Judgement,
  NotThere,
  type Scenario,
  type Seen,
  type Step,
  type Typed,
} from './scenario.ts';
import { actionOf } from './undo.ts';
import { shownWord } from './words.ts';

/** What a scenario needs of the lab. */
export interface Stage {
  /** Runs what was typed, whatever it ends with. Throws HarnessError where it cannot be run at all. */
  type(action: Action): Promise<Pick<Seen, 'exitCode' | 'stdout' | 'stderr'>>;
  /** What the API says of these namespaces now. */
  facts(namespaces: readonly string[]): Promise<Omit<Facts, 'after'>>;
  /** Looks until `look` is content or the time is over; returns what it saw last. */
  watch<T>(
    what: string,
    timeoutMs: number,
    look: () => Promise<{ readonly done: boolean; readonly value: T; readonly why: string }>,
  ): Promise<T>;
  /** The folder that the user is in: commands are shown as they are typed there. */
  readonly cwd: string;
}

/** What an expectation came to. */
export interface Finding extends Judgement {
  readonly wanted: string;
}

/** What became of one step. */
export interface StepResult {
  readonly id: string;
  readonly why: string;
  /** As it can be pasted into a shell. */
  readonly command: string;
  /** The lines of its output that matter. */
  readonly output: readonly string[];
  readonly findings: readonly Finding[];
  readonly verdict: 'passed' | 'failed' | 'harness' | 'not run';
  readonly ms: number;
}

/** What became of one scenario. */
export interface ScenarioResult {
  readonly name: string;
  readonly title: string;
  readonly lesson: string;
  readonly verdict: 'passed' | 'failed' | 'harness' | 'skipped';
  /** Why it was skipped. */
  readonly reason?: string;
  /** What would let it run. */
  readonly next?: string;
  readonly steps: readonly StepResult[];
  readonly ms: number;
}

/** Who is told what happens. */
export interface Audience {
  /** Before each step; where it waits, so does the scenario. */
  before?(step: Step, command: string): Promise<void>;
  after(step: StepResult): void;
}

const WITHIN_MS = 30_000;
const LINES = 8;

/**
 * Runs the steps one after another. What comes after a step that failed is not run: it builds on it. The namespaces and
 * what else it made are there at the end.
 */
export async function runScenario(
  scenario: Scenario,
  stage: Stage,
  audience: Audience,
): Promise<ScenarioResult> {
  const { name, title, lesson } = scenario;
  const started = performance.now();
  const steps: StepResult[] = [];
  const ended = new Map<string, { readonly stdout: string; readonly facts: Omit<Facts, 'after'> }>();
  const facts = async (): Promise<Facts> => ({
    ...(await stage.facts([...scenario.namespaces, ...(scenario.reads ?? [])])),
    after: (step) => {
      const seen = ended.get(step);
      if (seen === undefined) throw new Error(`scenario ${name}: there is no step ${step} before this one`);
      return seen;
    },
  });
  for (const step of scenario.steps) {
    if (steps.some(({ verdict }) => verdict !== 'passed')) {
      steps.push({ ...resultOf(step, shownCommand(typedOf(step), stage.cwd)), verdict: 'not run' });
      continue;
    }
    const { result, seen } = await runStep(step, facts, stage, audience);
    if (seen !== undefined) ended.set(step.id, seen);
    audience.after(result);
    steps.push(result);
  }
  const verdict = steps.find((each) => each.verdict === 'failed' || each.verdict === 'harness')?.verdict;
  const ms = Math.round(performance.now() - started);
  return {
    name,
    title,
    lesson,
    verdict: verdict === 'failed' || verdict === 'harness' ? verdict : 'passed',
    steps,
    ms,
  };
}

function typedOf(step: Step): Typed {
  return 'change' in step ? step.change : step.look;
}

function resultOf({ id, why }: Step, command: string): StepResult {
  return { id, why, command, output: [], findings: [], verdict: 'passed', ms: 0 };
}

/** What a step saw last. */
interface Look {
  readonly seen: Seen | undefined;
  readonly command: string;
  readonly findings: readonly Finding[];
}

async function runStep(
  step: Step,
  facts: () => Promise<Facts>,
  stage: Stage,
  audience: Audience,
): Promise<{ readonly result: StepResult; readonly seen?: Seen }> {
  const started = performance.now();
  const typed = typedOf(step);
  const expectations = [step.expect].flat();
  const result = resultOf(step, shownCommand(typed, stage.cwd));
  const ms = () => Math.round(performance.now() - started);
  let announced = false;
  let once: Omit<Seen, 'facts'> | undefined;
  const type = async (): Promise<{ readonly command: string; readonly said: Omit<Seen, 'facts'> }> => {
    const known = await facts();
    const action = actionOf(typed, known);
    const command = commandLine(action, stage.cwd);
    if (!announced) await audience.before?.(step, command);
    announced = true;
    if (once === undefined || 'look' in step) once = await stage.type(action);
    return { command, said: once };
  };
  try {
    const { seen, command, findings } = await stage.watch<Look>(
      step.id,
      step.withinMs ?? WITHIN_MS,
      async () => {
        const typedNow = await type().catch((error: unknown) => {
          if (error instanceof NotThere) return error;
          throw error;
        });
        const look =
          typedNow instanceof NotThere
            ? nothingTyped(result.command, typedNow, expectations)
            : await judgeAll(typedNow, expectations, facts);
        const wrong = look.findings.find(({ right }) => !right);
        return { done: wrong === undefined, value: look, why: wrong?.seen ?? '' };
      },
    );
    const verdict = findings.every(({ right }) => right) ? 'passed' : 'failed';
    const output = seen === undefined ? [] : shownLines(step, seen);
    return {
      result: { ...result, command, output, findings, verdict, ms: ms() },
      ...(seen === undefined ? {} : { seen }),
    };
  } catch (error) {
    rethrowIfInterrupted(error);
    if (!(error instanceof HarnessError)) throw error;
    const finding = {
      wanted: expectations.map(({ wanted }) => wanted).join('; '),
      right: false,
      seen: messageOf(error),
    };
    return { result: { ...result, findings: [finding], verdict: 'harness', ms: ms() } };
  }
}

function nothingTyped(command: string, { message }: NotThere, expectations: readonly Expectation[]): Look {
  const findings = expectations.map(({ wanted }) => ({ wanted, right: false, seen: message }));
  return { seen: undefined, command, findings };
}

async function judgeAll(
  { command, said }: { readonly command: string; readonly said: Omit<Seen, 'facts'> },
  expectations: readonly Expectation[],
  facts: () => Promise<Facts>,
): Promise<Look> {
  const seen = { ...said, facts: await facts() };
  const findings = expectations.map((each) => ({ wanted: each.wanted, ...judged(each, seen) }));
  return { seen, command, findings };
}

function shownLines({ show }: Step, { stdout, stderr }: Seen): readonly string[] {
  const lines = `${stdout}\n${stderr}`
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
  const chosen = show === undefined ? lines : lines.filter((line) => show.test(line));
  if (chosen.length <= LINES + 1) return chosen;
  return [...chosen.slice(0, LINES), `... ${chosen.length - LINES} more lines`];
}

/** What is pasted into a shell. Manifests of the package are named from the folder that the user is in. */
function commandLine({ on, argv, input }: Action, cwd: string): string {
  const words = argv.map((each) => (each.startsWith(`${cwd}/`) ? each.slice(cwd.length + 1) : each));
  const command = quoteArgv(on === KUBECTL ? words : [on, '--', ...words]);
  const line = on === KUBECTL ? `npx lab kubectl ${command}` : `npx lab exec ${command}`;
  return input === undefined ? line : `${line} <<'END'\n${input.trimEnd()}\nEND`;
}

/** The same for a reader without a lab: what is known only there is in angle brackets. */
export function shownCommand({ on, argv, input }: Typed, cwd: string): string {
  const placeholder = /'([^']*<[^']*)'/g;
  const action = { on: shownWord(on), argv: argv.map(shownWord) };
  const shown = input === undefined ? action : { ...action, input: shownWord(input) };
  return commandLine(shown, cwd).replaceAll(placeholder, '$1');
}
