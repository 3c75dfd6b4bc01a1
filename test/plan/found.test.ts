import { describe, expect, it } from 'vitest';
import {
  AT_RUN_TIME,
  type FoundAddresses,
  findsAddresses,
  isPending,
  pendingPlan,
  planAt,
  planAtLast,
  requireFit,
} from '../../scripts/plan/found.ts';
import { planLab } from '../../scripts/plan/plan.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { parseSpec } from '../../scripts/spec/load.ts';
import { defaultPlan } from './fixtures.ts';

const driver = { value: 'multipass', why: 'a test' } as const;
const planOf = (mode: 'dhcp' | 'static', more = ''): LabPlan =>
  planLab(parseSpec(`version: 1\n${more}multipass: { network: { mode: ${mode} } }\n`, 'lab.yaml'), {
    ...defaultPlan.choices,
    driver,
  });
const pending = planOf('dhcp');

const found = (change: Partial<FoundAddresses> = {}): FoundAddresses => ({
  subnet: '10.66.8.0/24',
  hostAddress: '10.66.8.1',
  machines: new Map(pending.machines.map(({ name }, index) => [name, `10.66.8.${10 + index}`])),
  ...change,
});
const movedTo = (name: string, address: string) => ({
  machines: new Map([...found().machines, [name, address]]),
});

function refusal(run: () => unknown): UserError {
  try {
    run();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a plan before its addresses are found', () => {
  it('has none of lab.yaml, and says where they come from', () => {
    expect(JSON.stringify(pending)).not.toContain('192.168.13.');
    expect(isPending(pending)).toBe(true);
    expect(pending.machines.map(({ address }) => address)).toEqual(pending.machines.map(() => AT_RUN_TIME));
  });

  it('is only one of Multipass in mode dhcp', () => {
    expect([pending, planOf('static'), defaultPlan].map(findsAddresses)).toEqual([true, false, false]);
    expect(isPending(planOf('static'))).toBe(false);
  });
});

describe('planAt', () => {
  it('is the plan that lab.yaml would give if it said these addresses', () => {
    const wanted = planOf('static');
    const written = new Map(wanted.machines.map(({ name, address }) => [name, address]));
    const { subnet, hostAddress } = wanted.network;
    const { multipass, ...at } = planAt(pending, { subnet, hostAddress, machines: written });
    const { multipass: _, ...rest } = wanted;
    expect(at).toEqual(rest);
    expect(multipass?.network.mode).toBe('dhcp');
  });

  it('leaves no address open, and none of another place', () => {
    const text = JSON.stringify(planAt(pending, found()));
    expect(text).not.toContain(AT_RUN_TIME);
    expect(text).not.toContain('192.168.13.');
    expect(planAt(planAt(pending, found(movedTo('bgp', '10.66.8.99'))), found())).toEqual(
      planAt(pending, found()),
    );
  });

  it('can be taken back', () => {
    expect(pendingPlan(planAt(pending, found()))).toEqual(pending);
  });

  it('wants every machine', () => {
    const machines = new Map([...found().machines].filter(([name]) => name !== 'routed'));
    expect(() => planAt(pending, found({ machines }))).toThrow('no address was found for routed');
  });
});

describe('the addresses of an earlier labup', () => {
  const last = planAt(pending, found());

  it('are kept until they are asked for again', () => {
    expect(planAtLast(pending, last)).toEqual(last);
  });

  it('are of no use where there are none, or the plan has its own', () => {
    expect(planAtLast(pending, undefined)).toBe(pending);
    expect(planAtLast(pending, pending)).toBe(pending);
    const fixed = planOf('static');
    expect(planAtLast(fixed, last)).toBe(fixed);
  });
});

describe('requireFit', () => {
  it('takes what fits', () => {
    requireFit(planAt(pending, found()));
  });

  it.each<[string, FoundAddresses, RegExp, RegExp]>([
    [
      'the service CIDR of lab.yaml',
      found({
        subnet: '10.97.0.0/24',
        hostAddress: '10.97.0.1',
        machines: new Map(pending.machines.map(({ name }, index) => [name, `10.97.0.${10 + index}`])),
      }),
      /^10\.96\.0\.0\/12 of kubernetes\.serviceCidr overlaps 10\.97\.0\.0\/24$/,
      /^npx labdown --yes.*set kubernetes\.serviceCidr to prefixes that share no address with 10\.97\.0\.0\/24/,
    ],
    [
      'another network of one machine',
      found(movedTo('k8sworker2', '10.66.9.5')),
      /^k8sworker2 has 10\.66\.9\.5, which is outside 10\.66\.8\.0\/24$/,
      /^npx labdown --yes && npx labup --yes/,
    ],
    [
      'one address for two',
      found(movedTo('bgp', '10.66.8.10')),
      /^bgp has 10\.66\.8\.10, which another one has/,
      /labdown/,
    ],
    ["the host's own", found(movedTo('bgp', '10.66.8.1')), /^bgp has 10\.66\.8\.1, which another/, /labdown/],
    ['no network at all', found({ subnet: '10.66.8.10/32' }), /is too small/, /static or bridge/],
  ])('refuses %s', (_, at, detail, next) => {
    const error = refusal(() => requireFit(planAt(pending, at)));
    expect(error.details).toEqual([expect.stringMatching(detail)]);
    expect(error.next).toMatch(next);
  });
});
