import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readBundle } from '../../artifacts/bundle/bundle.ts';
import { type ChoiceFlags, decide } from '../../plan/choices.ts';
import { differences } from '../../plan/differences.ts';
import { DEBIAN_SOFTWARE, planLab, smallLab } from '../../plan/plan.ts';
import type { SoftwareFacts } from '../../plan/software.ts';
import type { LabPlan } from '../../plan/types.ts';
import { requireK3s } from '../../render/k3s.ts';
import { kubeadmApi } from '../../render/kubeadm.ts';
import { messageOf, UserError } from '../../shared/errors.ts';
import { loadSpec } from '../../spec/load.ts';
import { ARTIFACTS_NAMES } from '../../spec/names.ts';
import type { EchoVariant, LabSpec } from '../../spec/types.ts';
import type { Deps } from '../deps.ts';
import { type LabOptions, labFile } from '../lab-file.ts';
import { type KeptFlags, LabState } from '../state.ts';

/** What the command line says about the plan. */
export interface PlanOptions extends LabOptions, KeptFlags {
  readonly echo?: EchoVariant | undefined;
}

/** A plan, and what it was made with. */
export interface WantedPlan {
  readonly plan: LabPlan;
  /** What the command line says of the lab, or said when it was made. */
  readonly flags: KeptFlags;
  /** The plan that the lab was made from, if there is a lab. */
  readonly made: LabPlan | undefined;
}

/**
 * lab.yaml as a plan for this host. A lab that was made goes on with what flags said then, and with what "auto" came to.
 * Throws UserError on a bad spec, a bad bundle, or choices that do not go together.
 */
export async function planFromSpec(
  deps: Pick<Deps, 'cwd' | 'env' | 'host' | 'say'>,
  options: PlanOptions,
): Promise<WantedPlan> {
  const { path, isDefaultLab } = labFile(deps, options);
  if (isDefaultLab)
    deps.say(`There is no lab.yaml in ${deps.cwd}: this is the default lab (to change it: npx lab init).`);
  const written = loadSpec(path);
  const state = new LabState(deps.cwd, written.name);
  const made = await state.load('plan');
  const kept = made === undefined ? {} : ((await state.load('flags')) ?? {});
  const said = saidNow(options, deps.cwd);
  const flags = { ...kept, ...said };
  const spec = asked(written, deps.cwd, { ...flags, echo: options.echo });
  const bundle = spec.artifacts === 'bundle' ? bundleOf(spec) : undefined;
  const facts = {
    multipassInstalled: onPath(deps.env.PATH, 'multipass'),
    incusOrLxdInstalled: await deps.host.daemonInstalled(),
    bundle,
    made: made?.choices,
  };
  // A folder is no name of a choice; by now the spec says what it stands for.
  const named = ({ artifacts, ...rest }: KeptFlags): ChoiceFlags =>
    artifacts === undefined ? rest : { ...rest, artifacts: spec.artifacts };
  const choices = decide(spec, facts, named(said), named(kept));
  const software = bundle ?? (await softwareOf(choices));
  const plan = planLab(spec, choices, software);
  refuseImpossible(plan, software);
  return { plan, flags, made };
}

const ARTIFACTS = [...ARTIFACTS_NAMES, 'auto'] as const;

/** What of the command line is kept with the lab: only what was said, a bundle's folder as a whole path. */
function saidNow({ driver, distribution, artifacts, small }: PlanOptions, cwd: string): KeptFlags {
  return {
    ...(driver === undefined ? {} : { driver }),
    ...(distribution === undefined ? {} : { distribution }),
    ...(artifacts === undefined ? {} : { artifacts: nameOf(artifacts) ?? resolve(cwd, artifacts) }),
    ...(small === undefined ? {} : { small }),
  };
}

function nameOf(artifacts: string): (typeof ARTIFACTS)[number] | undefined {
  return ARTIFACTS.find((each) => each === artifacts);
}

/** The spec with what the command line says of it. */
function asked(
  written: LabSpec,
  cwd: string,
  { artifacts, echo, small }: Pick<PlanOptions, 'artifacts' | 'echo' | 'small'>,
): LabSpec {
  const sized = small === true ? smallLab(written) : written;
  const workloads = echo === undefined ? sized : { ...sized, echo: { ...sized.echo, variant: echo } };
  const bundle = workloads.bundle === undefined ? {} : { bundle: resolve(cwd, workloads.bundle) };
  if (artifacts === undefined) return { ...workloads, ...bundle };
  const name = nameOf(artifacts);
  if (name !== undefined) return { ...workloads, ...bundle, artifacts: name };
  return { ...workloads, artifacts: 'bundle', bundle: artifacts };
}

function bundleOf({ bundle }: LabSpec): SoftwareFacts {
  if (bundle === undefined)
    throw new UserError('artifacts is "bundle", but no bundle folder is set.', {
      next: 'labup --artifacts FOLDER   (or "bundle: FOLDER" in lab.yaml)',
    });
  return readBundle(bundle).manifest;
}

async function softwareOf({ artifacts, distribution }: LabPlan['choices']): Promise<SoftwareFacts> {
  if (artifacts.value !== 'online') return DEBIAN_SOFTWARE;
  const { loadVersions, onlineFacts } = await import('../../artifacts/online/versions.ts');
  return onlineFacts(loadVersions(), distribution.value);
}

function refuseImpossible({ choices }: LabPlan, software: SoftwareFacts): void {
  if (choices.distribution.value === 'k3s') requireK3s(software);
  else kubeadmApi(software.versions.kubernetes);
}

/**
 * Refuses to turn a lab into another one. Only the echo workloads can change in place. Throws UserError that names what
 * differs.
 */
export function refuseOtherPlan(made: LabPlan | undefined, wanted: LabPlan): void {
  const details = differences(made, wanted);
  if (details.length === 0) return;
  throw new UserError(`Lab "${wanted.lab}" was made with other settings.`, {
    details,
    next: 'npx labdown --yes && npx labup --yes   (or undo the change in lab.yaml or on the command line)',
  });
}

/**
 * Where lab.yaml, with what is kept of the command line, says otherwise by now than a lab was made: nothing of it is in force.
 * Never throws: a lab can be looked at though its lab.yaml is broken or its bundle has gone.
 */
export async function laterWishes(
  deps: Pick<Deps, 'cwd' | 'env' | 'host'>,
  options: LabOptions,
  made: LabPlan,
): Promise<readonly string[]> {
  try {
    const { plan } = await planFromSpec({ ...deps, say: () => {} }, options);
    return plan.lab === made.lab ? differences(made, plan) : [];
  } catch (error) {
    return [`it cannot be compared: ${messageOf(error)}`];
  }
}

function onPath(path: string | undefined, program: string): boolean {
  return (path ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, program)));
}
