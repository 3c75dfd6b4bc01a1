import { UserError } from '../shared/errors.ts';
import type { ArtifactsName, DistributionName, DriverName, LabSpec } from '../spec/types.ts';
import type { Choice, LabPlan } from './types.ts';

/** What this version can do. `auto` chooses among these only. */
export const AVAILABLE = { driver: 'incus', distribution: 'kubeadm', artifacts: 'debian' } as const;

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

type Chosen = keyof typeof AVAILABLE;

/** Makes every choice and gives its reason. Throws UserError where one is asked for that this version lacks. */
export function decide(spec: LabSpec, facts: ChoiceFacts, flags: ChoiceFlags = {}): LabPlan['choices'] {
  const complaints: string[] = [];
  const choose = <K extends Chosen>(key: K, reason: string): Choice<(typeof AVAILABLE)[K]> => {
    const flag = flags[key];
    const wanted = flag ?? spec[key];
    const source =
      flag === undefined ? `set by "${key}: ${wanted}" in the spec` : `set by --${key} ${wanted}`;
    const value = AVAILABLE[key];
    if (wanted === 'auto') return { value, why: reason };
    if (wanted !== value) {
      complaints.push(`${key}: ${wanted} (${source}) is not available in this version; available: ${value}`);
    }
    return { value, why: source };
  };
  const choices: LabPlan['choices'] = {
    driver: choose('driver', driverReason(facts)),
    distribution: choose('distribution', 'k3s needs online artifacts, which this version does not have'),
    artifacts: choose('artifacts', 'this version builds everything from Debian packages'),
    cni: { value: 'bird', why: 'Debian has no Calico images; BIRD announces what Calico would announce' },
  };
  if (complaints.length > 0) {
    const settings = Object.entries(AVAILABLE).filter(([key]) =>
      complaints.some((text) => text.startsWith(`${key}:`)),
    );
    const lines = settings.map(([key, value]) => `"${key}: ${value}"`).join(' and ');
    const options = settings.map(([key, value]) => `--${key} ${value}`).join(' ');
    throw new UserError('This version cannot make the lab that was asked for.', {
      details: complaints,
      next: `Write ${lines} (or auto) in the spec, or run: labup ${options}`,
    });
  }
  return choices;
}

function driverReason(facts: ChoiceFacts): string {
  const incus = facts.incusOrLxdInstalled ? 'Incus or LXD is installed' : 'labup will install Incus or LXD';
  return facts.multipassInstalled
    ? `Multipass is installed, but this version drives only Incus and LXD; ${incus}`
    : `Multipass is not installed; ${incus}`;
}
