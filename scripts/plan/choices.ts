import { UserError } from '../shared/errors.ts';
import { DRIVER_NAMES } from '../spec/schema.ts';
import type { ArtifactsName, DistributionName, DriverName, LabSpec } from '../spec/types.ts';
import type { Choice, LabPlan } from './types.ts';

/** What this version can do. */
const AVAILABLE: { readonly [K in Chosen]: readonly Value<K>[] } = {
  driver: DRIVER_NAMES,
  distribution: ['kubeadm'],
  artifacts: ['debian'],
};

/** What the host looks like, as far as choices depend on it. */
export interface ChoiceFacts {
  readonly multipassInstalled: boolean;
  /** Incus 6, or LXD 5 with its CLI `lxc`. */
  readonly incusOrLxdInstalled: boolean;
}

/** Choices from the command line; they win over the spec. */
export interface ChoiceFlags {
  readonly driver?: DriverName | 'auto' | undefined;
  readonly distribution?: DistributionName | 'auto' | undefined;
  readonly artifacts?: ArtifactsName | 'auto' | undefined;
}

type Chosen = 'driver' | 'distribution' | 'artifacts';
type Value<K extends Chosen> = LabPlan['choices'][K]['value'];

/** Makes every choice and gives its reason. Throws UserError where one is asked for that this version lacks. */
export function decide(spec: LabSpec, facts: ChoiceFacts, flags: ChoiceFlags = {}): LabPlan['choices'] {
  const missing: Chosen[] = [];
  const complaints: string[] = [];
  const choose = <K extends Chosen>(key: K, automatic: Choice<Value<K>>): Choice<Value<K>> => {
    const flag = flags[key];
    const wanted = flag ?? spec[key];
    if (wanted === 'auto') return automatic;
    const why = flag === undefined ? `set by "${key}: ${wanted}" in the spec` : `set by --${key} ${wanted}`;
    const value = AVAILABLE[key].find((each) => each === wanted);
    if (value !== undefined) return { value, why };
    missing.push(key);
    const available = AVAILABLE[key].join(', ');
    complaints.push(`${key}: ${wanted} (${why}) is not available in this version; available: ${available}`);
    return automatic;
  };
  const choices: LabPlan['choices'] = {
    driver: choose('driver', automaticDriver(spec, facts)),
    distribution: choose('distribution', {
      value: 'kubeadm',
      why: 'k3s needs online artifacts, which this version does not have',
    }),
    artifacts: choose('artifacts', {
      value: 'debian',
      why: 'this version builds everything from Debian packages',
    }),
    cni: { value: 'bird', why: 'Debian has no Calico images; BIRD announces what Calico would announce' },
  };
  if (complaints.length > 0) {
    const lines = missing.map((key) => `"${key}: ${choices[key].value}"`).join(' and ');
    const options = missing.map((key) => `--${key} ${choices[key].value}`).join(' ');
    throw new UserError('This version cannot make the lab that was asked for.', {
      details: complaints,
      next: `Write ${lines} (or auto) in the spec, or run: labup ${options}`,
    });
  }
  return choices;
}

function automaticDriver({ machines }: LabSpec, facts: ChoiceFacts): Choice<DriverName> {
  if (machines.every(({ ssh }) => ssh !== undefined))
    return { value: 'ssh', why: 'the spec says of every machine how to reach it over SSH' };
  if (facts.multipassInstalled) return { value: 'multipass', why: 'Multipass is installed' };
  const incus = facts.incusOrLxdInstalled ? 'Incus or LXD is installed' : 'labup will install Incus or LXD';
  return { value: 'incus', why: `Multipass is not installed; ${incus}` };
}
