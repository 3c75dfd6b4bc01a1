import { isDeepStrictEqual } from 'node:util';
import { findsAddresses, pendingPlan } from './found.ts';
import type { LabPlan } from './types.ts';

/** How many differences are told one by one. */
const TOLD = 6;

/**
 * What is different from the plan that the lab was made from, as "driver: incus when the lab was made, now ssh"; nothing
 * where there is no lab yet. What can change in a running lab is no difference.
 */
export function differences(made: LabPlan | undefined, wanted: LabPlan): readonly string[] {
  if (made === undefined) return [];
  const [before, now] = [fixed(made), fixed(wanted)];
  const all = compare('', chosen(before), chosen(now));
  // What only follows from the rest differs alone where another release of the lab plans otherwise.
  const told = all.length > 0 ? all : compare('', before, now);
  return told.length > TOLD ? [...told.slice(0, TOLD), `and ${told.length - TOLD} more`] : told;
}

// As it comes back from plan.json, and without what may change: addresses that are found at run time, the reasons of the
// choices, the echo variant, how long is waited, what is tested, and where files come from as long as they are of the same versions.
function fixed(plan: LabPlan) {
  const written = JSON.parse(JSON.stringify(plan)) as LabPlan;
  const { choices, bundle, echo, timeouts, test, ...rest } = findsAddresses(written)
    ? pendingPlan(written)
    : written;
  const { driver, distribution, cni } = choices;
  return {
    driver: driver.value,
    distribution: distribution.value,
    cni: cni.value,
    ...rest,
    echo: { ...echo, variant: 'full' },
  };
}

/** What a user chooses, without what follows from it. */
function chosen({ machines, bgp, echo, ...rest }: ReturnType<typeof fixed>): unknown {
  const { namespace, externalIp, loadBalancer, tcpPort, udpPort } = echo;
  const { peerings, ...numbers } = bgp;
  return {
    ...rest,
    bgp: numbers,
    echo: { namespace, externalIp, loadBalancer, tcpPort, udpPort },
    machines: machines.map(({ name, role, address, ssh }) => ({ name, role, address, ssh })),
  };
}

function compare(path: string, before: unknown, after: unknown): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  const [old, now] = [entriesOf(before), entriesOf(after)];
  if (old === undefined || now === undefined)
    return [`${path}: ${shown(before)} when the lab was made, now ${shown(after)}`];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((key) =>
    compare(path === '' ? key : `${path}.${key}`, old.get(key), now.get(key)),
  );
}

/** The parts of a map, or of a list of things with names; undefined where it is told as a whole. */
function entriesOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!Array.isArray(value)) return new Map(Object.entries(value));
  const named = value.filter((each): each is { name: string } => typeof each?.name === 'string');
  return named.length === value.length ? new Map(named.map((each) => [each.name, each])) : undefined;
}

function shown(value: unknown): string {
  if (value === undefined) return 'none';
  if (Array.isArray(value) && value.some((each) => typeof each === 'object'))
    return `${value.length} of them`;
  if (typeof value === 'object' && value !== null && 'role' in value) return String(value.role);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
