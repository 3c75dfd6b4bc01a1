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
  /** What a lab that exists was made with: "auto" is that then. */
  readonly made?: LabPlan['choices'] | undefined;
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

/**
 * Makes every choice and gives its reason; `kept` are the flags of the command that made the lab. Throws UserError where
 * what is asked for does not go together.
 */
export function decide(
  spec: LabSpec,
  facts: ChoiceFacts,
  flags: ChoiceFlags = {},
  kept: ChoiceFlags = {},
): LabPlan['choices'] {
  const driver = wish<DriverName>('driver', spec, flags, kept);
  const distribution = wish<DistributionName>('distribution', spec, flags, kept);
  const artifacts = wish<ArtifactsName>('artifacts', spec, flags, kept);
  const from = chosen(
    artifacts,
    asMade(madeArtifacts(facts, distribution), automaticArtifacts(distribution)),
  );
  return {
    driver: chosen(driver, asMade(facts.made?.driver, automaticDriver(spec, facts))),
    distribution: distributionFrom(from.value, distribution, facts),
    artifacts: from,
    cni: cniFrom(from.value, facts.bundle),
  };
}

function wish<T extends string>(
  key: keyof ChoiceFlags,
  spec: Readonly<Record<typeof key, string>>,
  flags: ChoiceFlags,
  kept: ChoiceFlags,
): Wish<T> {
  const flag = flags[key] ?? kept[key];
  const wanted = (flag ?? spec[key]) as T | 'auto';
  const when = flags[key] === undefined ? ' when the lab was made' : '';
  const why =
    flag === undefined ? `set by "${key}: ${wanted}" in the spec` : `set by --${key} ${wanted}${when}`;
  return { value: wanted === 'auto' ? undefined : wanted, why };
}

function chosen<T>({ value, why }: Wish<T>, automatic: Choice<T>): Choice<T> {
  return value === undefined ? automatic : { value, why };
}

/** What the artifacts of a lab that exists are from, where "auto" can mean that: not what another distribution needs. */
function madeArtifacts(
  { made }: ChoiceFacts,
  { value = made?.distribution.value }: Wish<DistributionName>,
): Choice<ArtifactsName> | undefined {
  // The folder of a bundle is known only where somebody names it.
  const isKnown = made?.artifacts.value !== 'bundle' && value === made?.distribution.value;
  return isKnown ? made?.artifacts : undefined;
}

/** What "auto" comes to: for a lab that exists what it came to when it was made. */
function asMade<T>(made: Choice<T> | undefined, automatic: Choice<T>): Choice<T> {
  if (made === undefined || made.value === automatic.value) return automatic;
  return { value: made.value, why: `the lab was made with it; for a new one: ${automatic.value}` };
}

function automaticDriver({ machines }: LabSpec, facts: ChoiceFacts): Choice<DriverName> {
  if (machines.every(({ ssh }) => ssh !== undefined))
    return { value: 'ssh', why: 'the spec says of every machine how to reach it over SSH' };
  if (facts.multipassInstalled) return { value: 'multipass', why: 'Multipass is installed' };
  const incus = facts.incusOrLxdInstalled ? 'Incus or LXD is installed' : 'labup will install Incus or LXD';
  return { value: 'incus', why: `Multipass is not installed; ${incus}` };
}

// Nobody has run a lab from online artifacts yet (README, "Status"): until then nobody gets one
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
  { bundle, made }: ChoiceFacts,
): Choice<DistributionName> {
  const only = onlyDistribution(artifacts, bundle);
  if (only === undefined) {
    const why = 'the shorter way to a current Kubernetes, with online artifacts';
    return chosen(asked, asMade(made?.distribution, { value: 'k3s', why }));
  }
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
