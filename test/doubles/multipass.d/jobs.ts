import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isRunning } from '../../../scripts/exec/local.ts';
import { Failure, RC, Refusal } from './failures.ts';
import type { Call } from './io.ts';
import type { Spinner } from './spinner.ts';
import { writeWhole } from './store.ts';

/**
 * Work of the daemon. It runs in a process of its own, which goes on when the client ends, is interrupted or has waited
 * long enough, as the real daemon does. The client follows it through files of the job's folder.
 */
export interface Job {
  readonly operation: string;
  readonly request: unknown;
}

/** What a job tells on its way. */
export interface Progress {
  say(message: string): Promise<void>;
}

interface Outcome {
  readonly value?: unknown;
  readonly refusal?: { readonly message: string; readonly details: string };
}

const POLL_MS = 40;

/** What the client does while it follows a job. */
export interface Following {
  readonly spinner?: Spinner;
  /** The client's own timer, over everything, and what it says then (exit code 5). */
  readonly timeoutMs?: number | undefined;
  readonly timeoutText?: string;
}

/** Has the daemon do something and waits for it. Throws its Refusal, or Failure where the client's time is up. */
export async function runJob<T>(call: Call, job: Job, following: Following = {}): Promise<T> {
  const folder = await newJob(call, job);
  const worker = await call.background(folder);
  const deadline = following.timeoutMs === undefined ? undefined : performance.now() + following.timeoutMs;
  let shown = 0;
  for (;;) {
    const alive = isRunning(worker);
    const lines = (await readOptional(join(folder, 'progress'))).split('\n').slice(0, -1);
    for (const message of lines.slice(shown)) {
      following.spinner?.stop();
      following.spinner?.start(message);
    }
    shown = lines.length;
    const text = await readOptional(join(folder, 'outcome.json'));
    if (text !== '') return outcome(JSON.parse(text) as Outcome) as T;
    if (!alive) throw new Refusal('cannot connect to the multipass socket');
    if (deadline !== undefined && performance.now() > deadline) {
      throw new Failure(RC.timeout, `${following.timeoutText}\n`);
    }
    await delay(POLL_MS);
  }
}

/** Notes a job down. Returns its folder, for `call.background`. */
export async function newJob(call: Call, job: Job): Promise<string> {
  await mkdir(join(call.folder, 'jobs'), { recursive: true });
  const folder = await mkdtemp(join(call.folder, 'jobs', `${job.operation}-`));
  await writeWhole(join(folder, 'job.json'), JSON.stringify(job));
  return folder;
}

/** The daemon's side: does a job and notes how it ended. A bug in it ends up in the daemon's log. */
export async function doJob(
  folder: string,
  operations: Readonly<Record<string, (request: never, progress: Progress) => Promise<unknown>>>,
): Promise<void> {
  const { operation, request } = JSON.parse(await readFile(join(folder, 'job.json'), 'utf8')) as Job;
  const progress: Progress = { say: (message) => appendFile(join(folder, 'progress'), `${message}\n`) };
  const run = operations[operation];
  if (run === undefined) throw new Error(`no operation ${operation}`);
  const done: Outcome = await run(request as never, progress).then(
    (value) => ({ value }),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      const details = error instanceof Refusal ? error.details : '';
      return { refusal: { message, details } };
    },
  );
  await writeWhole(join(folder, 'outcome.json'), JSON.stringify(done));
}

function outcome({ value, refusal }: Outcome): unknown {
  if (refusal !== undefined) throw new Refusal(refusal.message, refusal.details);
  return value;
}

async function readOptional(path: string): Promise<string> {
  return existsSync(path) ? readFile(path, 'utf8') : '';
}
