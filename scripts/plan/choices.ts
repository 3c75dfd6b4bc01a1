import { UserError } from '../shared/errors.ts';
import type { ArtifactsName, CniName, DistributionName, DriverName, LabSpec } from '../spec/types.ts';
import type { SoftwareFacts } from './software.ts';
import type { Choice, LabPlan } from './types.ts';

/** What the host looks like, as far as choices depend on it. */
export interface ChoiceFacts {
  readonly multipassInstalled: boolean;
  /** Incus 6, or LXD 5 with its CLI `lxc`. */
  readonly incusOrLxdInstalled: boolean;
  /** What the bundle holds that the spec or the command line names. */
  readonly bundle?: SoftwareFacts | undefined;
}

/** Choices from the command line; they win over the spec. */
export interface ChoiceFlags {
  readonly driver?: DriverName | 'auto' | undefined;
  readonly distribution?: DistributionName | 'auto' | undefined;
  readonly artifacts?: ArtifactsName | 'auto' | undefined;
}

/** What somebody asked for: a value, or nothing, and the words for where. */
interface Wish<T> {
  readonly value: T | undefined;
  readonly why: string;
}

/** Makes every choice and gives its reason. Throws UserError where what is asked for does not go together. */
export function decide(spec: LabSpec, facts: ChoiceFacts, flags: ChoiceFlags = {}): LabPlan['choices'] {
  const driver = wish<DriverName>('driver', spec.driver, flags.driver);
  const distribution = wish<DistributionName>('distribution', spec.distribution, flags.distribution);
  const artifacts = wish<ArtifactsName>('artifacts', spec.artifacts, flags.artifacts);
  const from = chosen(artifacts, automaticArtifacts(distribution));
  return {
    driver: chosen(driver, automaticDriver(spec, facts)),
    distribution: distributionFrom(from.value, distribution, facts.bundle),
    artifacts: from,
    cni: cniFrom(from.value, facts.bundle),
  };
}

function wish<T extends string>(key: string, written: T | 'auto', flag: T | 'auto' | undefined): Wish<T> {
  const wanted = flag ?? written;
  const why = flag === undefined ? `set by "${key}: ${wanted}" in the spec` : `set by --${key} ${wanted}`;
  return { value: wanted === 'auto' ? undefined : wanted, why };
}

function chosen<T>({ value, why }: Wish<T>, automatic: Choice<T>): Choice<T> {
  return value === undefined ? automatic : { value, why };
}

function automaticDriver({ machines }: LabSpec, facts: ChoiceFacts): Choice<DriverName> {
  if (machines.every(({ ssh }) => ssh !== undefined))
    return { value: 'ssh', why: 'the spec says of every machine how to reach it over SSH' };
  if (facts.multipassInstalled) return { value: 'multipass', why: 'Multipass is installed' };
  const incus = facts.incusOrLxdInstalled ? 'Incus or LXD is installed' : 'labup will install Incus or LXD';
  return { value: 'incus', why: `Multipass is not installed; ${incus}` };
}

// Nobody has run a lab from online artifacts yet (README, "Which combinations have been run"): until then nobody gets one
// without having asked.
function automaticArtifacts(distribution: Wish<DistributionName>): Choice<ArtifactsName> {
  if (distribution.value === 'k3s')
    return { value: 'online', why: 'k3s comes from its own releases: Debian has no package of it' };
  return {
    value: 'debian',
    why: "built here from Debian's packages; --artifacts online takes current releases",
  };
}

function distributionFrom(
  artifacts: ArtifactsName,
  asked: Wish<DistributionName>,
  bundle: SoftwareFacts | undefined,
): Choice<DistributionName> {
  const only = onlyDistribution(artifacts, bundle);
  if (only === undefined)
    return chosen(asked, {
      value: 'k3s',
      why: 'the shorter way to a current Kubernetes, with online artifacts',
    });
  if (asked.value === undefined || asked.value === only.value) return chosen(asked, only);
  throw new UserError(`A lab with ${asked.value} cannot be made from these artifacts.`, {
    details: [`distribution: ${asked.value} (${asked.why})`, `artifacts: ${artifacts} (${only.why})`],
    next:
      artifacts === 'debian'
        ? `labup --artifacts online   (or --distribution ${only.value})`
        : `labup --distribution ${only.value}   (or take another bundle)`,
  });
}

/** The distribution that artifacts hold, where it is only one. */
function onlyDistribution(
  artifacts: ArtifactsName,
  bundle: SoftwareFacts | undefined,
): Choice<DistributionName> | undefined {
  if (artifacts === 'online') return undefined;
  if (artifacts === 'debian')
    return { value: 'kubeadm', why: 'Debian has the sources of kubeadm, and no k3s' };
  if (bundle === undefined) throw new Error('artifacts bundle were chosen and no bundle was read');
  return { value: bundle.distribution, why: `the bundle holds ${bundle.distribution}` };
}

function cniFrom(artifacts: ArtifactsName, bundle: SoftwareFacts | undefined): Choice<CniName> {
  if (artifacts === 'bundle' && bundle !== undefined)
    return { value: bundle.cni, why: `the bundle is made for ${bundle.cni}` };
  if (artifacts === 'online') return { value: 'calico', why: "Calico's images can be had online" };
  return { value: 'bird', why: 'Debian has no Calico images; BIRD announces what Calico would announce' };
}
