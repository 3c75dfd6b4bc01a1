import { describe, expect, it } from 'vitest';
import { differences, type MachinePicture, routeLines } from '../../scripts/selftest/picture.ts';
import { parseIptables } from '../../scripts/selftest/placed-rules.ts';

const RULES = [
  '[1:2] -A POSTROUTING -j KUBE-POSTROUTING',
  '[3:4] -A POSTROUTING -j LAB-NAT-OUTGOING',
  '[0:0] -A KUBE-SERVICES -d 10.96.0.1/32 -j A',
  '[0:0] -A KUBE-SERVICES -d 10.96.0.2/32 -j B',
];

function machine(rules: readonly string[] = RULES, routes: readonly string[] = ['a', 'b']): MachinePicture {
  return {
    rules: parseIptables(`# iptables-nft\n*nat\n${rules.join('\n')}`),
    lines: new Map([['route', routes]]),
  };
}

function changed(now: MachinePicture): readonly string[] {
  return differences(new Map([['w1', machine()]]), new Map([['w1', now]]));
}

describe('what differs at the end', () => {
  it('is nothing where only counters, numbers and the order of services have moved', () => {
    const [first = '', second = '', ...services] = RULES;
    const now = [first.replace('[1:2]', '[9:9]'), second, ...services.reverse()];
    expect(changed(machine(now, ['b', 'a']))).toEqual([]);
  });

  it.each<[string, MachinePicture, readonly string[]]>([
    [
      'a rule that was added and left',
      machine([...RULES, '[0:0] -A POSTROUTING -j cali-nat-outgoing']),
      ['w1 rule in iptables-nft nat POSTROUTING, new: -A POSTROUTING -j cali-nat-outgoing'],
    ],
    [
      'a rule that is there twice',
      machine([...RULES, RULES[1] ?? '']),
      ['w1 rule in iptables-nft nat POSTROUTING, new: -A POSTROUTING -j LAB-NAT-OUTGOING'],
    ],
    [
      'a rule that is gone',
      machine(RULES.slice(0, 3)),
      ['w1 rule in iptables-nft nat KUBE-SERVICES, gone: -A KUBE-SERVICES -d 10.96.0.2/32 -j B'],
    ],
    [
      'a rule in another place',
      machine([RULES[1] ?? '', RULES[0] ?? '', ...RULES.slice(2)]),
      ['w1 iptables-nft nat POSTROUTING: its rules are in another order'],
    ],
    ['a route', machine(RULES, ['a', 'c']), ['w1 route, gone: b', 'w1 route, new: c']],
  ])('is %s', (_, now, lines) => {
    expect(changed(now)).toEqual(lines);
  });

  it('is a machine that is not there any more', () => {
    expect(differences(new Map([['w1', machine()]]), new Map())).toEqual(['w1 is gone']);
  });
});

it('a route is the same whatever the kernel numbers it, and in whatever order its next hops are', () => {
  const hop = (gateway: string, flags: string[] = []) => ({ gateway, dev: 'eth0', weight: 1, flags });
  const route = (nhid: number, ...nexthops: object[]) =>
    routeLines(JSON.stringify([{ dst: '2.2.2.2', nhid, protocol: 'bgp', metric: 20, flags: [], nexthops }]));
  const before = route(7, hop('10.0.0.1'), hop('10.0.0.2'));
  expect(route(9, hop('10.0.0.2', ['onlink']), hop('10.0.0.1'))).toEqual(before);
  expect(route(7, hop('10.0.0.1'))).not.toEqual(before);
  expect(routeLines('')).toEqual([]);
});
