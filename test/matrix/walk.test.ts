import { describe, expect, it } from 'vitest';
import { compareAddresses, inAny, sorted } from '../../scripts/matrix/addresses.ts';
import { factsOf } from '../../scripts/matrix/expect/facts.ts';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { walk } from '../../scripts/matrix/expect/walk.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import type { MachineState } from '../../scripts/matrix/state/types.ts';
import { onLink, via } from './network-of.ts';
import { ok } from './rows.ts';
import { CLUSTER_IP, flowSource, PORT, syntheticLab, targetNamed } from './synthetic-lab.ts';

describe('a trace', () => {
  const state = syntheticLab();
  const network = networkOf(state);
  const factsFrom = (from: string, to: string) =>
    factsOf(network, walk(network, flowSource(state, from), targetNamed(state, to)));

  it('rests on the routes of every machine that it can pass, and of the answers', () => {
    const routes = factsFrom('near', 'external-ip').flatMap((fact) =>
      fact.kind === 'route' ? `${fact.machine} ${fact.destination} ${fact.prefix}` : [],
    );
    expect(routes).toEqual(
      expect.arrayContaining([
        'near 203.0.113.5 203.0.113.5/32',
        'r 203.0.113.5 203.0.113.5/32',
        'w1 10.1.0.7 10.1.0.0/16',
        'w2 10.1.0.7 10.1.0.0/16',
      ]),
    );
  });

  it('rests on a route that is not there', () => {
    expect(factsFrom('far', 'external-ip')).toEqual([
      { kind: 'route', machine: 'far', destination: '203.0.113.5' },
    ]);
  });

  it('rests on the masquerading of what a pod sends to what is no pod', () => {
    const of = (to: string) => factsFrom('pod/c1', to).filter(({ kind }) => kind === 'masquerade');
    expect(of('node-port/w3')).toEqual([{ kind: 'masquerade', machine: 'w1' }]);
    expect([...of('cluster-ip'), ...of('pod/p2')]).toEqual([]);
  });
});

describe('what is masqueraded and stays on its node', () => {
  it('shows each client its own address, whichever was followed first', () => {
    const state = syntheticLab({
      pods: [{ name: 'p1', on: 'w1', hostNetwork: true }],
      service: { policy: 'Cluster' },
    });
    const network = networkOf(state);
    const clients = ['near', 'far', 'r'].map(
      (from) =>
        predict(network, flowSource(state, from), targetNamed(state, 'node-port/w1')).expected.clients,
    );
    expect(clients).toEqual([['10.1.0.7'], ['10.1.0.6'], ['10.1.0.8']]);
  });
});

describe('a device without an address of its own', () => {
  const vxlan = { name: 'vxlan.calico', addresses: [{ address: '10.2.0.17', length: 32, scope: 'global' }] };
  const state = syntheticLab({
    // A container's own interface has a larger number than what was made inside, so `ip` lists it last.
    machine: (machine) => {
      if (machine.name !== 'w1') return machine;
      const others = machine.interfaces.filter(({ name }) => !name.startsWith('veth'));
      const hop = { gateway: '10.2.0.33', interface: vxlan.name };
      return {
        ...machine,
        interfaces: [vxlan, ...others, { name: 'veth0', addresses: [] }],
        routes: [
          { ...via('10.2.0.32/28', []), hops: [hop] },
          ...machine.routes.filter(({ prefix }) => prefix !== '10.2.0.32/28'),
        ],
      };
    },
  });
  const seenFrom = (to: string) =>
    predict(networkOf(state), flowSource(state, 'w1'), targetNamed(state, to)).expected.clients;

  it("lends that of the node's own interface, not that of a tunnel", () => {
    expect(seenFrom('pod/p1')).toEqual(['10.1.1.1']);
    expect(networkOf(state).machine('w1')?.sourceFor('10.2.0.34')).toBe('10.2.0.17');
  });
});

describe('IPv6', () => {
  it('addresses have an order, and lie in prefixes of their own family', () => {
    expect(sorted(['fd00::10', '10.0.0.2', 'fd00::9', '10.0.0.1'])).toEqual([
      '10.0.0.1',
      '10.0.0.2',
      'fd00::9',
      'fd00::10',
    ]);
    expect(compareAddresses('255.255.255.255', '::')).toBeLessThan(0);
    expect(inAny(['fd00:1::/64'], 'fd00:1::ffff')).toBe(true);
    expect(inAny(['fd00:1::/64'], 'fd00:2::1')).toBe(false);
    expect(inAny(['::/0'], '10.0.0.1')).toBe(false);
    expect(inAny(['0.0.0.0/0'], 'fd00::1')).toBe(false);
  });

  it('is walked like IPv4: by the router, to a pod, and back', () => {
    const [POD, NEAR, R, W2] = ['fd00:2::22', 'fd00:1::7', 'fd00:1::8', 'fd00:1::2'];
    const addresses: Readonly<Record<string, string>> = { near: NEAR, r: R, w2: W2 };
    const routes: Readonly<Record<string, MachineState['routes']>> = {
      near: [via('fd00:2::/64', [R])],
      r: [via('fd00:2::20/124', [W2])],
      w2: [onLink(`${POD}/128`, 'veth0')],
    };
    const before = syntheticLab({
      machine: (machine) => {
        const address = addresses[machine.name];
        if (address === undefined) return machine;
        const eth0 = { name: 'eth0', addresses: [{ address, length: 64, scope: 'global' }] };
        return {
          ...machine,
          interfaces: [...machine.interfaces.filter(({ name }) => name !== 'eth0'), eth0],
          routes: [onLink('fd00:1::/64'), ...(routes[machine.name] ?? [])],
        };
      },
    });
    const state = {
      ...before,
      pods: before.pods.map((pod) => (pod.name === 'p2' ? { ...pod, ip: POD } : pod)),
    };
    const target = { kind: 'pod' as const, to: 'pod/p2', protocol: 'tcp' as const, address: POD, port: PORT };
    const from = { kind: 'client' as const, name: 'near', address: NEAR };
    const { expected } = predict(networkOf(state), from, target);
    expect(expected).toMatchObject(ok([POD], [NEAR]));
    expect(expected.chain.map(({ at }) => at)).toEqual(['near', 'near', 'r', 'r', 'w2', 'pod/p2', 'pod/p2']);
    const unrouted = predict(networkOf(state), from, { ...target, address: CLUSTER_IP }).expected;
    expect(unrouted.outcome).toBe('no-route');
  });
});
