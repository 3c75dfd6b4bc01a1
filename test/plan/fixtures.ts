import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { decide } from '../../scripts/plan/choices.ts';
import { planLab } from '../../scripts/plan/plan.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { loadSpec } from '../../scripts/spec/load.ts';
import type { LabSpec } from '../../scripts/spec/types.ts';

/** A Debian machine with nothing installed and only a package mirror. */
export const BARE_HOST = { multipassInstalled: false, incusOrLxdInstalled: false };

/** Every spec that must plan: lab.yaml under the name "default", and test/specs/valid-*.yaml under theirs. */
export const VALID_SPECS: readonly (readonly [string, string])[] = [
  ['default', 'lab.yaml'],
  ...readdirSync('test/specs')
    .filter((file) => /^valid-.*\.yaml$/.test(file))
    .map((file) => [basename(file, '.yaml'), `test/specs/${file}`] as const),
];

export function planOf(path: string): { spec: LabSpec; plan: LabPlan } {
  const spec = loadSpec(path);
  return { spec, plan: planLab(spec, decide(spec, BARE_HOST)) };
}

export const defaultPlan = planOf('lab.yaml').plan;
