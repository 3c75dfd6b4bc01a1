import { createHash } from 'node:crypto';
import pLimit from 'p-limit';
import { isAtLeast } from '../../plan/doctor/check.ts';
import type { LabPlan, MachinePlan } from '../../plan/types.ts';
import { Interrupted, LabFailure, UserError } from '../../shared/errors.ts';
import { macOf } from '../../shared/labels.ts';
import { type CloudInit, type Failed, notDone } from '../driver.ts';
import type { LaunchOptions } from './client.ts';
import {
  ASKED_AT_ONCE,
  type Entry,
  LAUNCH_SECONDS,
  listInstances,
  type MultipassHost,
  multipassOf,
  versionOf,
} from './host.ts';
import { answering, ensureRunning, launchMachine, provisioned, requireNoErrors } from './instance.ts';
import { foreignError, type Ownership, ownershipOf } from './ownership.ts';
import { purgeInstances } from './remove.ts';

/** From here on instances are in zones, each with a network of its own. */
const WITH_ZONES = '1.17';

interface Job {
  readonly machine: MachinePlan;
  readonly ownership: Exclude<Ownership, { readonly whose: 'foreign' }>;
  readonly options: Omit<LaunchOptions, 'timeoutSeconds' | 'zone'>;
  readonly recipe: string;
}

/**
 * Makes every machine of the plan exist, run and be done with its cloud-init; returns whether anything changed. Throws
 * UserError before anything is changed where a name is taken by somebody else's instance, LabFailure naming every
 * machine that could not be made.
 */
export async function ensureMachines(
  host: MultipassHost,
  plan: LabPlan,
  cloudInit: ReadonlyMap<string, CloudInit>,
): Promise<boolean> {
  const jobs = await prepare(host, plan, cloudInit);
  const { parallel } = multipassOf(plan);
  // The first launch of all gets and prepares the image; others at the same time would only wait for it, or trip over it
  // (https://github.com/canonical/multipass/issues/3336).
  const limit = pLimit(jobs.every(({ ownership }) => needsLaunch(ownership)) ? 1 : parallel);
  let failed = false;
  const ended = await Promise.allSettled(
    jobs.map((job) =>
      limit(async () => {
        // After a failure nothing new is begun; what is under way is waited for.
        if (failed) return undefined;
        try {
          return await ensureMachine(host, plan, job);
        } catch (error) {
          failed = true;
          throw error;
        } finally {
          limit.concurrency = parallel;
        }
      }),
    ),
  );
  return anyChanged(jobs, ended);
}

async function prepare(
  host: MultipassHost,
  plan: LabPlan,
  cloudInit: ReadonlyMap<string, CloudInit>,
): Promise<readonly Job[]> {
  const listed = await listInstances(host);
  const entries = await host.registry.all();
  const ownerships = await pLimit(ASKED_AT_ONCE).map(plan.machines, ({ name }) =>
    ownershipOf(host, plan.lab, name, listed.get(name), entries.get(name)),
  );
  const foreign = ownerships.filter((each) => each.whose === 'foreign');
  if (foreign.length > 0) throw foreignError(plan.lab, foreign);
  return plan.machines.map((machine, index) => {
    const ownership = ownerships[index];
    if (ownership === undefined || ownership.whose === 'foreign') throw new Error(`${machine.name} was lost`);
    const documents = cloudInit.get(machine.name);
    if (documents === undefined) throw new Error(`no cloud-init documents for ${machine.name}`);
    const options = launchOptions(plan, machine, documents);
    const recipe = createHash('sha256').update(JSON.stringify(options)).digest('hex');
    refuseOther(ownership, recipe);
    return { machine, ownership, options, recipe };
  });
}

function launchOptions(
  plan: LabPlan,
  { name, role, mac }: MachinePlan,
  { userData }: CloudInit,
): Job['options'] {
  const { image, sizes, network: wanted } = multipassOf(plan);
  const { mode, bridge } = wanted;
  const network =
    mode === 'bridge' && bridge !== undefined
      ? // manual: cloud-init leaves this NIC alone, and its fixed address is set over SSH like any other.
        `name=${bridge},mode=manual,mac=${mac ?? macOf(plan.lab, name)}`
      : undefined;
  return { name, image, userData, ...sizes[role], ...(network === undefined ? {} : { network }) };
}

function refuseOther(ownership: Job['ownership'], recipe: string): void {
  if (needsLaunch(ownership)) return;
  const { name, entry } = ownership;
  if (entry?.recipe === undefined || entry.recipe === recipe) return;
  throw new UserError(
    `Machine ${name} was made from another image, size, plan or key than the one wanted now.`,
    {
      next: 'npx labdown --yes && npx labup --yes',
    },
  );
}

const needsLaunch = (ownership: Job['ownership']): boolean =>
  ownership.whose === 'nobody' || ownership.state === 'Deleted' || ownership.entry?.failed === true;

async function ensureMachine(host: MultipassHost, plan: LabPlan, job: Job): Promise<boolean> {
  const { ownership, options, recipe } = job;
  const { name, entry } = ownership;
  if (needsLaunch(ownership)) {
    if (ownership.whose === 'ours') {
      // `multipass delete` without --purge keeps the name. Exactly this one: a bare purge takes everybody's.
      const why = ownership.state === 'Deleted' ? 'which was deleted' : 'whose launch failed';
      host.emit({ type: 'note', text: `removing ${name}, ${why}` });
      await purgeInstances(host, [name]);
    }
    const zone = await zoneFor(host, plan);
    const begunBefore = entry?.lab === plan.lab && !entry.launched;
    await launchMachine(host, {
      lab: plan.lab,
      recipe,
      begunBefore,
      options: { ...options, timeoutSeconds: LAUNCH_SECONDS, zone },
    });
    return true;
  }
  if (ownership.whose !== 'ours') return false;
  const changed = await ensureRunning(host, name, ownership.state).catch((error: unknown) => {
    throw notStarted(name, error);
  });
  // Once more where it was started, and where it runs but did not answer at once.
  const facts = ownership.facts ?? (await answering(host, name));
  const done = facts.cloudInit.finished ? facts : await provisioned(host, name);
  if (done.owner !== plan.lab) {
    const why = `it answers as ${done.owner === undefined ? 'no lab' : `lab "${done.owner}"`}'s`;
    throw foreignError(plan.lab, [{ name, state: 'Running', why }]);
  }
  const noted = entryFor(plan.lab, recipe, entry);
  await requireNoErrors(host, name, done, entry?.launched === false ? noted : undefined);
  if (entry?.launched !== true) await host.registry.write(name, noted);
  return changed;
}

/** One that was made and does not start: another labup alone would only try the same again. */
function notStarted(name: string, error: unknown): unknown {
  if (!(error instanceof LabFailure) || error.next !== undefined) return error;
  return new LabFailure(error.message, {
    details: error.details,
    next: `multipass info ${name}; if it never starts: npx labdown --yes && npx labup --yes`,
    cause: error,
  });
}

/** What is noted of a machine that is there: what may be lost is the file, or the end of a launch that labup did not live to see. */
function entryFor(lab: string, recipe: string, entry: Entry | undefined): Entry {
  const launchedAt = entry?.launchedAt ?? new Date().toISOString();
  // What it was made from is only known of one that was noted.
  return { lab, launchedAt, launched: true, ...(entry === undefined ? {} : { recipe }) };
}

/**
 * The zone of the lab's machines, undefined where there is none yet: from 1.17 on each zone has a network of its own, so
 * all machines go where the first one went.
 */
async function zoneFor(host: MultipassHost, plan: LabPlan): Promise<string | undefined> {
  if (!isAtLeast(await versionOf(host), WITH_ZONES)) return undefined;
  const listed = await listInstances(host);
  return plan.machines.map(({ name }) => listed.get(name)?.zone).find((zone) => zone !== undefined);
}

function anyChanged(
  jobs: readonly Job[],
  ended: readonly PromiseSettledResult<boolean | undefined>[],
): boolean {
  const failed: Failed[] = [];
  const notBegun: string[] = [];
  for (const [index, each] of ended.entries()) {
    const name = jobs[index]?.machine.name ?? '';
    if (each.status === 'rejected') failed.push({ name, reason: each.reason });
    else if (each.value === undefined) notBegun.push(name);
  }
  const [first] = failed;
  if (first === undefined) return ended.some((each) => each.status === 'fulfilled' && each.value === true);
  const hopeless = failed.find(({ reason }) => reason instanceof UserError || reason instanceof Interrupted);
  if (hopeless !== undefined) throw hopeless.reason;
  const next = first.reason instanceof LabFailure ? first.reason.next : undefined;
  const rest = notBegun.length === 0 ? [] : [`not begun after that: ${notBegun.join(', ')}`];
  throw notDone('Not made', failed, next, rest);
}
