import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type ChoiceFlags, decide } from '../plan/choices.ts';
import { findsAddresses, pendingPlan } from '../plan/found.ts';
import { planLab } from '../plan/plan.ts';
import { smallLab } from '../plan/small.ts';
import type { LabPlan } from '../plan/types.ts';
import { UserError } from '../shared/errors.ts';
import { nameFault } from '../spec/formats.ts';
import { loadSpec } from '../spec/load.ts';
import type { EchoVariant } from '../spec/types.ts';
import type { Deps } from './deps.ts';

/** What the command line says about the plan. */
export interface PlanOptions extends ChoiceFlags {
  readonly file: string;
  readonly echo?: EchoVariant | undefined;
  /** One worker fewer, and no routed client. */
  readonly small?: boolean | undefined;
}

/** lab.yaml as a plan for this host. Throws UserError on a bad spec or on a choice that this version lacks. */
export function planFromSpec(deps: Pick<Deps, 'cwd' | 'env' | 'host'>, options: PlanOptions): LabPlan {
  const written = loadSpec(resolve(deps.cwd, options.file));
  const spec = options.small === true ? smallLab(written) : written;
  const choices = decide(
    spec,
    {
      multipassInstalled: onPath(deps.env.PATH, 'multipass'),
      incusOrLxdInstalled: deps.host.daemonInstalled(),
    },
    options,
  );
  const wanted =
    options.echo === undefined ? spec : { ...spec, echo: { ...spec.echo, variant: options.echo } };
  return planLab(wanted, choices);
}

/** The lab's name as lab.yaml or --name gives it, for commands that need no plan. Throws UserError where it is none. */
export function labName(
  deps: Pick<Deps, 'cwd'>,
  options: { file: string; name?: string | undefined },
): string {
  const { name } = options;
  if (name === undefined) return loadSpec(resolve(deps.cwd, options.file)).name;
  // The name becomes a path below .lab/, which labdown removes.
  const fault = nameFault(name);
  if (fault !== undefined) throw new UserError(`--name: ${fault.message}`, { next: fault.hint });
  return name;
}

/**
 * Refuses to turn a lab into another one: what exists was made from `saved`. Only the echo workloads can change in
 * place. Throws UserError that names what differs.
 */
export function refuseOtherPlan(saved: LabPlan | undefined, wanted: LabPlan): void {
  const differing = differences(saved, wanted);
  if (differing.length === 0) return;
  throw new UserError(`Lab "${wanted.lab}" was made from another plan.`, {
    details: differing.map((key) => `differs: ${key}`),
    next: 'npx labdown --yes && npx labup --yes   (or undo the change in lab.yaml)',
  });
}

/** The parts of a plan in which it differs from the one that the lab was made from; none where there is no lab yet. */
export function differences(saved: LabPlan | undefined, wanted: LabPlan): readonly string[] {
  if (saved === undefined) return [];
  return (Object.keys(wanted) as (keyof LabPlan)[]).filter(
    (key) => key !== 'choices' && !isDeepStrictEqual(fixed(saved)[key], fixed(wanted)[key]),
  );
}

// As it comes back from plan.json, and without what may change.
function fixed(plan: LabPlan): LabPlan {
  const written = JSON.parse(JSON.stringify(plan)) as LabPlan;
  const copy = findsAddresses(written) ? pendingPlan(written) : written;
  return { ...copy, echo: { ...copy.echo, variant: 'full' } };
}

function onPath(path: string | undefined, program: string): boolean {
  return (path ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, program)));
}
