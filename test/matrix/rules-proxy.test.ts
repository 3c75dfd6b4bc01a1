import { describe, expect, it } from 'vitest';
import { cellOf } from '../../scripts/matrix/cells.ts';
import { networkOf } from '../../scripts/matrix/expect/network-state.ts';
import { predict } from '../../scripts/matrix/expect.ts';
import { parseCounters } from '../../scripts/matrix/proof-counters.ts';
import { dropPointOf, stoppingRules } from '../../scripts/matrix/proof-drops.ts';
import type { MachineState, ObservedState } from '../../scripts/matrix/state/types.ts';
import { BOTH, C1, C3, CLUSTER, NEAR, NEW, NFT, OLD, ok, outcomeOf, W1, W2, W3 } from './rows.ts';
import {
  CLUSTER_IP,
  EXTERNAL,
  flowSource,
  type LabWish,
  PORT,
  syntheticLab,
  targetNamed,
  withoutClusterCidr,
} from './synthetic-lab.ts';

function expected(state: ObservedState, from: string, to: string) {
  return predict(networkOf(state), flowSource(state, from), targetNamed(state, to)).expected;
}

function labOf(named: string, lab: LabWish = {}): ObservedState {
  const [version = '', mode = 'iptables'] = named.split(' ');
  return syntheticLab({ ...lab, version, proxy: { mode, ...lab.proxy } });
}

describe.each([OLD, NEW, NFT])('what kube-proxy takes for a pod (%s)', (version) => {
  it('with NodeCIDR is what has an address of the node, without any clusterCIDR', () => {
    const state = withoutClusterCidr(labOf(version, { proxy: { detectLocalMode: 'NodeCIDR' } }));
    expect(expected(state, 'pod/c3', 'node-port/w3')).toMatchObject(ok(BOTH, [C3]));
    expect(expected(state, 'pod/c1', 'cluster-ip')).toMatchObject(ok(BOTH, [C1]));
    expect(expected(state, 'near', 'cluster-ip')).toMatchObject(ok(BOTH, [W1, W2, W3]));
  });

  it.each([
    ['InterfaceNamePrefix', 'veth'],
    ['BridgeInterface', 'veth1'],
  ])('with %s is what comes in there', (detectLocalMode, podInterface) => {
    const state = withoutClusterCidr(labOf(version, { proxy: { detectLocalMode, podInterface } }));
    // c1 is the second pod on its node, so that it has veth1.
    expect(expected(state, 'pod/c1', 'cluster-ip')).toMatchObject(ok(BOTH, [C1]));
    expect(expected(state, 'near', 'cluster-ip')).toMatchObject(ok(BOTH, [W1, W2, W3]));
    const other = withoutClusterCidr(labOf(version, { proxy: { detectLocalMode, podInterface: 'br0' } }));
    expect(expected(other, 'pod/c1', 'cluster-ip')).toMatchObject(ok(BOTH, [W1]));
  });
});

describe('an answer past the node that translated', () => {
  const from = (protocol: 'tcp' | 'udp') => {
    const lab: LabWish = { protocol, pods: [{ name: 'p2', on: 'w2' }] };
    const machine = (each: MachineState): MachineState =>
      each.name === 'near'
        ? {
            ...each,
            routes: each.routes.map((route) =>
              route.hops[0]?.gateway ? { ...route, hops: [{ gateway: W1, interface: 'eth0' }] } : route,
            ),
          }
        : each;
    return expected(withoutClusterCidr(labOf(NEW, { ...lab, machine })), 'near', 'cluster-ip').outcome;
  };

  it('is not noticed by TCP, and comes from an unknown address by UDP', () => {
    expect(from('tcp')).toBe('timeout');
    expect(from('udp')).toBe('corrupt');
  });
});

describe('loadBalancerSourceRanges since 1.25', () => {
  const lab: LabWish = {
    service: { externalIps: [], loadBalancerIps: [EXTERNAL], sourceRanges: [`${NEAR}/32`] },
  };

  it('end in KUBE-PROXY-FIREWALL, which counts it', () => {
    const state = labOf(NEW, lab);
    const target = targetNamed(state, 'external-ip');
    const cell = cellOf(networkOf(state), flowSource(state, 'm'), target);
    const point = dropPointOf(state, cell);
    if (point === undefined) throw new Error('there is no rule');
    expect(point.chains.at(-1)).toBe('KUBE-PROXY-FIREWALL');
    const rules = parseCounters(`*filter
[0:0] -A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
[0:0] -A KUBE-PROXY-FIREWALL -d ${EXTERNAL}/32 -p tcp -m comment --comment "shop/web:http traffic not accepted by KUBE-FW-X" -m tcp --dport ${PORT} -j DROP
[0:0] -A KUBE-PROXY-FIREWALL -d ${EXTERNAL}/32 -p tcp -m comment --comment "shop/other:http traffic not accepted by KUBE-FW-Y" -m tcp --dport ${PORT} -j DROP
COMMIT
`);
    expect(stoppingRules(point, rules)).toEqual([rules[1]]);
  });

  it('drop also what the node forwards, where 1.24 only marks it', () => {
    // w3 has no blackhole, as it announces nothing: its route leads on to w1 and w2.
    const through = { machine: (each: MachineState) => reroutedTo(each, W3) };
    const at = (version: string) =>
      expected(
        labOf(version, {
          ...lab,
          ...through,
          announcing: ['w1', 'w2'],
          service: { ...lab.service, policy: 'Cluster' },
        }),
        'r',
        'external-ip',
      ).chain.at(-1);
    expect(at(NEW)).toMatchObject({ at: 'w3', chains: ['KUBE-PROXY-FIREWALL'] });
    expect(at('1.24.17')).not.toMatchObject({ at: 'w3' });
  });

  it('drop before the routing decision in nftables mode, where nothing counts it', () => {
    const state = labOf(NFT, lab);
    const cell = cellOf(networkOf(state), flowSource(state, 'r'), targetNamed(state, 'external-ip'));
    expect(cell.expected.outcome).toBe('timeout');
    expect(cell.expected.chain.at(-1)?.chains).toEqual([
      'firewall-check',
      'firewall-ips',
      expect.stringMatching(/^firewall-\w{8}-shop\/web\/tcp\/http$/),
    ]);
    expect(dropPointOf(state, cell)).toBeUndefined();
  });

  function reroutedTo(machine: MachineState, gateway: string): MachineState {
    const isIt = (prefix: string) => machine.name === 'r' && prefix === `${EXTERNAL}/32`;
    return {
      ...machine,
      routes: machine.routes.map((route) =>
        isIt(route.prefix) ? { ...route, hops: [{ gateway, interface: 'eth0' }] } : route,
      ),
    };
  }
});

describe('two services with one external address and port', () => {
  /** `second` has policy Cluster and one endpoint more than is asked for here. */
  function shared(version: string, owners?: readonly string[]): ObservedState {
    const state = labOf(version, { announcing: ['m', 'w1', 'w2', 'w3'] });
    const [web] = state.services;
    if (web === undefined) throw new Error('there is no service');
    const [port] = web.ports;
    const ports = port === undefined ? [] : [{ ...port, nodePort: 30090 }];
    const second = { ...web, name: 'second', policy: 'Cluster' as const, clusterIp: '10.3.0.11', ports };
    const key = `${EXTERNAL}:${PORT}/tcp`;
    const machines = [...state.machines].map(([name, machine]): [string, MachineState] => [
      name,
      owners === undefined ? machine : { ...machine, externalOwners: new Map([[key, owners]]) },
    ]);
    return { ...state, services: [web, second], machines: new Map(machines) };
  }
  const nft = (name: string) => expect.stringMatching(new RegExp(`^external-\\w{8}-shop/${name}/tcp/http$`));

  it.each([
    [['shop/web:http', 'shop/second:http'], [NEAR]],
    [
      ['shop/second:http', 'shop/web:http'],
      [W1, W2],
    ],
  ])('is the one that comes first in the rules: %s', (owners, clients) => {
    const way = expected(shared(NEW, owners), 'near', 'external-ip');
    expect(way.outcome).toBe('ok');
    expect(way.clients.filter((each) => [NEAR, W1, W2].includes(each))).toEqual(clients);
  });

  it('is the one that the map leads to in nftables mode', () => {
    const state = shared(NFT);
    const rules = networkOf(state).machine('w1')?.kubeProxy?.rules;
    const names = state.services.map((service) => {
      const [port] = service.ports;
      return port === undefined ? '' : (rules?.names(service, port).external ?? '');
    });
    expect(names).toEqual([nft('web'), nft('second')]);
    expect(expected(shared(NFT, names.slice(1)), 'near', 'external-ip').clients).toContain(W1);
    expect(expected(shared(NFT, names.slice(0, 1)), 'near', 'external-ip').clients).toEqual([NEAR]);
  });

  it('is not known where no rule says it', () => {
    for (const version of [NEW, NFT]) {
      const state = shared(version);
      const { skipped } = predict(
        networkOf(state),
        flowSource(state, 'near'),
        targetNamed(state, 'external-ip'),
      );
      expect(skipped).toContain(`hop/web and shop/second share ${EXTERNAL}:${PORT}`);
    }
  });
});

describe('addresses of the service CIDR in nftables mode', () => {
  const machine = (each: MachineState): MachineState =>
    each.ipForward ? { ...each, nftServices: { backends: new Map(), serviceCidrs: ['10.3.0.0/16'] } } : each;
  const outcome = (address: string, port: number, from: string) => {
    const state = labOf(NFT, { machine });
    const target = { kind: 'cluster-ip' as const, to: address, address, port, protocol: 'tcp' as const };
    const { expected: found } = predict(networkOf(state), flowSource(state, from), target);
    return [found.outcome, found.chain.at(-1)?.chains];
  };

  it('are refused with a port that their service does not have, and dropped where no service has them', () => {
    for (const from of ['pod/c1', 'near', 'w1']) {
      expect(outcome(CLUSTER_IP, PORT + 1, from)).toEqual(['refused', ['cluster-ips-check']]);
      expect(outcome('10.3.9.9', PORT, from)).toEqual(['timeout', ['cluster-ips-check']]);
    }
  });
});

it("names of nftables are those of kube-proxy's own table", () => {
  const step = outcomeOf({ ...CLUSTER, version: '1.36.3', proxy: { mode: 'nftables' } }, 'far', 'node-port/m')
    .expected.chain;
  const rule = step.find(({ layer }) => layer === 'rule');
  expect(rule?.chains).toEqual([
    'services',
    'service-nodeports',
    expect.stringMatching(/^external-\w{8}-shop\/web\/tcp\/http$/),
    expect.stringMatching(/^service-\w{8}-shop\/web\/tcp\/http$/),
  ]);
  expect(JSON.stringify(step)).not.toContain('KUBE-');
});
