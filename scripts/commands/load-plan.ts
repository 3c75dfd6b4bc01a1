import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readBundle } from '../artifacts/bundle/bundle.ts';
import { onlineFacts } from '../artifacts/online/files.ts';
import { loadVersions } from '../artifacts/online/versions.ts';
import { type ChoiceFlags, decide } from '../plan/choices.ts';
import { findsAddresses, pendingPlan } from '../plan/found.ts';
import { DEBIAN_SOFTWARE, planLab } from '../plan/plan.ts';
import { smallLab } from '../plan/small.ts';
import type { SoftwareFacts } from '../plan/software.ts';
import type { LabPlan } from '../plan/types.ts';
import { requireK3s } from '../render/k3s.ts';
import { kubeadmApi } from '../render/kubeadm.ts';
import { UserError } from '../shared/errors.ts';
import { nameFault } from '../spec/formats.ts';
import { loadSpec } from '../spec/load.ts';
import { ARTIFACTS_NAMES } from '../spec/schema.ts';
import type { EchoVariant, LabSpec } from '../spec/types.ts';
import type { Deps } from './deps.ts';

/** What the command line says about the plan. */
export interface PlanOptions extends Omit<ChoiceFlags, 'artifacts'> {
  readonly file: string;
  /** One of the names, or the folder of a bundle. */
  readonly artifacts?: string | undefined;
  readonly echo?: EchoVariant | undefined;
  /** One worker fewer, and no routed client. */
  readonly small?: boolean | undefined;
}

/** lab.yaml as a plan for this host. Throws UserError on a bad spec, a bad bundle, or choices that do not go together. */
export function planFromSpec(deps: Pick<Deps, 'cwd' | 'env' | 'host'>, options: PlanOptions): LabPlan {
  const spec = asked(loadSpec(resolve(deps.cwd, options.file)), deps.cwd, options);
  const bundle = spec.artifacts === 'bundle' ? bundleOf(spec) : undefined;
  const facts = {
    multipassInstalled: onPath(deps.env.PATH, 'multipass'),
    incusOrLxdInstalled: deps.host.daemonInstalled(),
    bundle,
  };
  // A folder is no name of a choice; by now the spec says what it stands for.
  const artifacts = options.artifacts === undefined ? undefined : spec.artifacts;
  const choices = decide(spec, facts, { ...options, artifacts });
  const software = bundle ?? softwareOf(choices);
  const plan = planLab(spec, choices, software);
  refuseImpossible(plan, software);
  return plan;
}

/** The spec with what the command line says of it. */
function asked(written: LabSpec, cwd: string, { artifacts, echo, small }: PlanOptions): LabSpec {
  const sized = small === true ? smallLab(written) : written;
  const workloads = echo === undefined ? sized : { ...sized, echo: { ...sized.echo, variant: echo } };
  const bundle = workloads.bundle === undefined ? {} : { bundle: resolve(cwd, workloads.bundle) };
  if (artifacts === undefined) return { ...workloads, ...bundle };
  const name = [...ARTIFACTS_NAMES, 'auto' as const].find((each) => each === artifacts);
  if (name !== undefined) return { ...workloads, ...bundle, artifacts: name };
  return { ...workloads, artifacts: 'bundle', bundle: resolve(cwd, artifacts) };
}

function bundleOf({ bundle }: LabSpec): SoftwareFacts {
  if (bundle === undefined)
    throw new UserError('artifacts: bundle, and no word of which.', {
      next: 'labup --artifacts FOLDER   (or "bundle: FOLDER" in lab.yaml)',
    });
  return readBundle(bundle).manifest;
}

function softwareOf({ artifacts, distribution }: LabPlan['choices']): SoftwareFacts {
  return artifacts.value === 'online' ? onlineFacts(loadVersions(), distribution.value) : DEBIAN_SOFTWARE;
}

function refuseImpossible({ choices, echo }: LabPlan, software: SoftwareFacts): void {
  if (choices.distribution.value === 'k3s') requireK3s(software);
  else kubeadmApi(software.versions.kubernetes);
  if (echo.loadBalancer === 'ipam' && choices.cni.value !== 'calico')
    throw new UserError('echo.loadBalancer: ipam needs Calico, whose address management it is.', {
      details: [`CNI: ${choices.cni.value} (${choices.cni.why})`],
      next: 'Write "loadBalancer: externalIPs" in lab.yaml, or take artifacts with Calico: labup --artifacts online',
    });
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
  const before = fixed(saved);
  return Object.entries(fixed(wanted)).flatMap(([key, value]) =>
    isDeepStrictEqual(before[key], value) ? [] : [key],
  );
}

// As it comes back from plan.json, and without what may change: addresses that are found at run time, the reasons of the
// choices, and where files come from as long as they are of the same versions.
function fixed(plan: LabPlan): Readonly<Record<string, unknown>> {
  const written = JSON.parse(JSON.stringify(plan)) as LabPlan;
  const { choices, bundle, ...rest } = findsAddresses(written) ? pendingPlan(written) : written;
  return {
    ...rest,
    driver: choices.driver.value,
    distribution: choices.distribution.value,
    cni: choices.cni.value,
    echo: { ...rest.echo, variant: 'full' },
  };
}

function onPath(path: string | undefined, program: string): boolean {
  return (path ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, program)));
}
