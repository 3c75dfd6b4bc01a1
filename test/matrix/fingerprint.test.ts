import { describe, expect, it } from 'vitest';
import type { EchoPod } from '../../scripts/matrix/endpoints.ts';
import { movedParts } from '../../scripts/matrix/state/fingerprint.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import { dead } from './network-of.ts';
import { EXTERNAL, type LabWish, PODS, podAddress, syntheticLab } from './synthetic-lab.ts';

const before = syntheticLab();

function moved(wish: LabWish): readonly string[] {
  return movedParts(before, syntheticLab(wish));
}

describe('movedParts', () => {
  it('is empty for a state that is the same, in whatever order', () => {
    expect(moved({})).toEqual([]);
    const turned = {
      ...before,
      pods: [...before.pods].reverse(),
      machines: new Map([...before.machines].reverse()),
    };
    expect(movedParts(before, turned)).toEqual([]);
  });

  it('names a pod that is no longer ready, and what follows from that', () => {
    const parts = moved({ pods: PODS.map((pod) => (pod.name === 'p1' ? { ...pod, ready: false } : pod)) });
    expect(parts).toContain(
      `pod p1: ${podAddress(1, 0)} on w1, ready -> ${podAddress(1, 0)} on w1, not ready`,
    );
    expect(parts.filter((part) => part.startsWith('service web endpoint p1:'))).toHaveLength(1);
    expect(parts).toContain(`r route ${EXTERNAL}/32: 10.1.1.1, 10.1.1.2 -> 10.1.1.2`);
    expect(parts).toContain(`w1 route ${EXTERNAL}/32: blackhole -> 10.1.1.2`);
  });

  it.each([
    ['a policy', { service: { policy: 'Cluster' as const }, announcing: ['w1', 'w2'] }, 'service web:'],
    [
      'an external address',
      { service: { externalIps: [] }, announcing: ['w1', 'w2'] },
      'service web external addresses:',
    ],
    ['source ranges', { service: { sourceRanges: ['10.0.0.0/8'] } }, 'service web source ranges:'],
    ['a version', { version: '1.30.0' }, 'node m:'],
    ['a setting of kube-proxy', { proxy: { masqueradeAll: true } }, 'kube-proxy:'],
    ['the hash policy', { hashPolicy: 0 }, 'r settings:'],
    [
      'a route of one machine',
      {
        machine: (each) =>
          each.name === 'near' ? { ...each, routes: [...each.routes, dead('9.9.9.9/32')] } : each,
      },
      'near route 9.9.9.9/32: absent -> blackhole',
    ],
    [
      'a machine that was lost',
      { machine: (each) => (each.name === 'w3' ? { ...each, problem: 'connection lost' } : each) },
      'w3: absent -> could not be looked at: connection lost',
    ],
    [
      'the pod network no longer masquerading',
      {
        machine: (each) => {
          const { natOutgoing: _, ...rest } = each;
          return rest;
        },
      },
      'w1 LAB-NAT-OUTGOING:',
    ],
  ] satisfies readonly (readonly [string, LabWish, string])[])('names %s', (_, wish, part) => {
    expect(moved(wish).filter((each) => each.startsWith(part)).length).toBe(1);
  });

  it('names a pod that came and one that went', () => {
    const parts = moved({ pods: [...PODS.slice(1), { name: 'p9', on: 'w3' }] });
    expect(parts.some((part) => part.startsWith('pod p1: ') && part.endsWith('-> absent'))).toBe(true);
    expect(parts.some((part) => part.startsWith('pod p9: absent -> '))).toBe(true);
  });

  // kubelet 1.20 keeps one for up to a minute after its containers have ended.
  it('does not name a pod that was being deleted and is gone, unless a port of its node led to it', () => {
    const [gone, ...pods] = before.pods;
    if (gone === undefined) throw new Error('no pod');
    const without = { ...before, pods };
    const leaving = (pod: Partial<EchoPod>): ObservedState => ({
      ...before,
      pods: [{ ...gone, ready: false, isDeleted: true, ...pod }, ...pods],
    });
    expect(movedParts(leaving({}), without)).toEqual([]);
    expect(movedParts(before, leaving({}))).toHaveLength(1);
    const ports = [{ port: 80, protocol: 'tcp', host: { port: 8080 } }] as const;
    expect(movedParts(leaving({ ports }), without)).toHaveLength(1);
  });
});
