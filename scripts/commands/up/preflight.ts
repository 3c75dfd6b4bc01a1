import type { ObservedThing } from '../../machines/driver.ts';
import type { HostWork } from '../../machines/packages.ts';
import { differences } from '../../plan/differences.ts';
import type { DoctorCheck } from '../../plan/doctor/check.ts';
import { examineHost } from '../../plan/doctor/checks.ts';
import type { MissingPackage } from '../../plan/host-facts.ts';
import type { LabPlan } from '../../plan/types.ts';
import { messageOf, rethrowIfInterrupted } from '../../shared/errors.ts';
import { artifactsOf, type Deps, workFor } from '../deps.ts';

/** What was found before anything is touched. */
export interface Preflight {
  /** What of the lab exists already; empty where that could not be looked at, which is a check of its own. */
  readonly ours: readonly ObservedThing[];
  readonly checks: readonly DoctorCheck[];
  /** What this host has to do, and the Debian packages that labup would install for it. */
  readonly work: HostWork;
  readonly packages: readonly MissingPackage[];
  /** The artifacts that labup would build. */
  readonly toBuild: readonly { readonly name: string; readonly minutes: number }[];
}

/** Looks at this host and judges it for the plan, beside what the lab was made from: the same for labup and for `lab doctor`. */
export async function preflight(
  deps: Pick<Deps, 'artifacts' | 'driver' | 'host'>,
  plan: LabPlan,
  made: LabPlan | undefined,
): Promise<Preflight> {
  const driver = await deps.driver(plan.choices.driver.value);
  const artifacts = await deps.artifacts(artifactsOf(plan));
  const [ours, toBuild] = await Promise.all([
    attempt(driver.observe(plan.lab)),
    artifacts.missing(driver.machines),
  ]);
  const work = { machines: driver.machines, ...workFor(artifactsOf(plan), toBuild) };
  const [seen, packages] = await Promise.all([
    deps.host.facts(plan, ours.value ?? []),
    deps.host.missingPackages(work),
  ]);
  const needsMirror = toBuild.length > 0 || packages.length > 0;
  const mirror = needsMirror ? await attempt(artifacts.reachable()) : { value: true };
  const checks = examineHost(plan, {
    ...seen,
    missingPackages: packages,
    missingArtifacts: toBuild.map(({ name }) => name),
    networkReachable: mirror.value === true,
    differences: differences(made, plan),
    unseen: {
      ...seen.unseen,
      ...(ours.why === undefined ? {} : { lab: ours.why }),
      ...(mirror.why === undefined ? {} : { mirror: mirror.why }),
    },
  });
  return { checks, ours: ours.value ?? [], work, packages, toBuild };
}

/** What a look comes to, or why it came to nothing. */
async function attempt<T>(looked: Promise<T>): Promise<{ readonly value?: T; readonly why?: string }> {
  try {
    return { value: await looked };
  } catch (error) {
    rethrowIfInterrupted(error);
    return { why: messageOf(error) };
  }
}
