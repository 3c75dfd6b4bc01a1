import { describe, expect, it } from 'vitest';
import { smallLab } from '../../scripts/plan/plan.ts';
import { parseSpec } from '../../scripts/spec/load.ts';

const names = (yaml: string) => smallLab(parseSpec(yaml, 'lab.yaml')).machines.map(({ name }) => name);

describe('--small', () => {
  it('leaves out the last worker and the routed client', () => {
    expect(names('version: 1\n')).toEqual(['k8smaster1', 'k8sworker1', 'k8sworker2', 'bgp', 'ubuntu']);
  });

  it('leaves the only worker', () => {
    const machines = [
      '{ name: m, role: control-plane, address: 192.168.13.30 }',
      '{ name: w, role: worker, address: 192.168.13.31 }',
      '{ name: r, role: router, address: 192.168.13.32 }',
    ];
    expect(names(`version: 1\nmachines: [${machines.join(', ')}]\n`)).toEqual(['m', 'w', 'r']);
  });
});
