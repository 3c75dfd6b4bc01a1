import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Executor } from '../../scripts/exec/executor.ts';
import { parseServiceLoop } from '../../scripts/matrix/state/calico-filter.ts';
import { checkState } from '../../scripts/matrix/state/checks.ts';
import {
  parseInterfaces,
  parsePolicyRules,
  parseRoutes,
  parseSysctls,
  readMachine,
} from '../../scripts/matrix/state/machine.ts';
import { parseDropsInvalid, parseNatOutgoing, parseSets } from '../../scripts/matrix/state/nat.ts';
import { endpointsOf } from './fixtures.ts';

function recorded(name: string): string {
  return readFileSync(new URL(`../transcripts/state/${name}`, import.meta.url), 'utf8');
}

describe('what a machine says', () => {
  it('about routes: blackholes, next hops, pods on the link', () => {
    const routes = new Map(
      parseRoutes(recorded('k8sworker1-route.json')).map((route) => [route.prefix, route]),
    );
    expect(routes.get('2.2.2.2/32')).toEqual({
      prefix: '2.2.2.2/32',
      type: 'blackhole',
      protocol: 'bird',
      metric: 0,
      hops: [],
    });
    expect(routes.get('10.255.0.128/26')?.hops).toEqual([{ gateway: '192.168.13.36', interface: 'eth0' }]);
    expect(routes.get('10.255.0.66/32')?.hops[0]).not.toHaveProperty('gateway');
    expect(routes.get('192.168.13.0/24')?.source).toBe('192.168.13.35');
    const multipath = parseRoutes(recorded('bgp-route.json')).find(({ prefix }) => prefix === '2.2.2.2/32');
    expect(multipath).toMatchObject({ protocol: 'bgp', metric: 20 });
    expect(multipath?.hops.map(({ gateway }) => gateway)).toEqual([
      '192.168.13.35',
      '192.168.13.36',
      '192.168.13.37',
    ]);
  });

  it('about next hops: those that the kernel does not use are left out, the others in order', () => {
    const text = JSON.stringify([
      {
        dst: 'default',
        nexthops: [
          { gateway: '10.0.0.3', dev: 'c', flags: [] },
          { gateway: '10.0.0.1', dev: 'a', flags: ['dead'] },
          { gateway: '10.0.0.4', dev: 'a', flags: ['dead', 'linkdown'] },
          { gateway: '10.0.0.5', dev: 'd', flags: ['linkdown'] },
          { gateway: '10.0.0.2', dev: 'b', flags: [], weight: 3 },
        ],
      },
    ]);
    expect(parseRoutes(text)).toEqual([
      {
        prefix: '0.0.0.0/0',
        type: 'unicast',
        protocol: 'boot',
        metric: 0,
        hops: [
          { gateway: '10.0.0.2', interface: 'b', weight: 3 },
          { gateway: '10.0.0.3', interface: 'c' },
          { gateway: '10.0.0.5', interface: 'd', isDown: true },
        ],
      },
    ]);
  });

  it('about addresses, in the order of the kernel', () => {
    const interfaces = parseInterfaces(recorded('k8sworker1-addr.json'));
    expect(interfaces.map(({ name }) => name.slice(0, 4))).toEqual(['lo', 'veth', 'veth', 'eth0']);
    expect(interfaces[1]?.addresses).toEqual([{ address: '192.168.13.35', length: 32, scope: 'global' }]);
    expect(parseInterfaces(recorded('bgp-addr.json'))[0]?.addresses[1]?.address).toBe('5.5.5.5');
    expect(parseInterfaces('[{},{"ifname":"eth1"}]')).toEqual([{ name: 'eth1', addresses: [] }]);
  });

  it('about policy routing: what is beyond the usual', () => {
    expect(parsePolicyRules(recorded('bgp-rule.json'))).toEqual({ refusedPrefixes: [], others: [] });
    expect(parsePolicyRules('[{"priority":100,"src":"10.0.0.1","table":"7"}]').others).toEqual([
      '100: from 10.0.0.1 lookup 7',
    ]);
  });

  it('about prefixes that are kept off the default route', () => {
    // As printed by iproute2 6.1 for the rules of lab-network.
    const look =
      '{"priority":13013,"src":"all","dst":"10.255.0.0","dstlen":16,"table":"main","suppress_prefixlen":0}';
    const refuse = '{"priority":13014,"src":"all","dst":"10.255.0.0","dstlen":16,"action":"unreachable"}';
    expect(parsePolicyRules(`[${look},${refuse}]`)).toEqual({
      refusedPrefixes: ['10.255.0.0/16'],
      others: [],
    });
    // Half of it does something else.
    expect(parsePolicyRules(`[${refuse}]`)).toEqual({
      refusedPrefixes: [],
      others: ['13014: from all to 10.255.0.0/16 unreachable'],
    });
    expect(parsePolicyRules(`[${look}]`).others).toEqual(['13013: from all to 10.255.0.0/16 lookup main']);
  });

  it('about sysctls', () => {
    expect(parseSysctls(recorded('bgp-sysctl.txt')).get('net.ipv4.fib_multipath_hash_policy')).toBe(1);
    expect(() => parseSysctls('sysctl: permission denied')).toThrow('not a line of sysctl');
  });

  it("about the pod network's masquerading", () => {
    expect(parseNatOutgoing(recorded('k8sworker1-nat.txt'), new Map())).toEqual({
      chain: 'LAB-NAT-OUTGOING',
      sources: ['10.255.0.0/16'],
      except: ['10.255.0.0/16'],
    });
    expect(parseNatOutgoing('', new Map())).toBeUndefined();
    const unused = recorded('k8sworker1-nat.txt').replace('-A POSTROUTING -j LAB-NAT-OUTGOING\n', '');
    expect(parseNatOutgoing(unused, new Map())).toBeUndefined();
    expect(parseNatOutgoing('*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n', new Map())).toBeUndefined();
    expect(() => parseNatOutgoing('iptables: permission denied', new Map())).toThrow(
      'not what iptables-save prints',
    );
  });

  it('about packets that conntrack calls INVALID', () => {
    expect(parseDropsInvalid(FILTER)).toBe(true);
    expect(parseDropsInvalid(FILTER.replace(/-A KUBE-FORWARD .*INVALID.*\n/, ''))).toBe(false);
    expect(parseDropsInvalid(FILTER.replace('-j DROP', '-j ACCEPT'))).toBe(false);
    expect(parseDropsInvalid('*filter\n-A OTHER -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n')).toBe(
      false,
    );
    expect(parseDropsInvalid('')).toBe(false);
    expect(() => parseDropsInvalid('iptables: permission denied')).toThrow('not what iptables-save prints');
  });

  // Written after felix's rules (rules/nat.go) and ipset's manual, not recorded.
  it("about Calico's masquerading, which needs its IP sets", () => {
    const rule =
      '*nat\n-A cali-POSTROUTING -m comment --comment "y" -j cali-nat-outgoing\n-A cali-nat-outgoing -m comment --comment "x" -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully\nCOMMIT\n';
    const sets = parseSets(
      'create cali40masq-ipam-pools hash:net family inet\nadd cali40masq-ipam-pools 10.9.0.0/16\ncreate cali40all-ipam-pools hash:net\nadd cali40all-ipam-pools 10.9.0.0/16\n',
    );
    expect(parseNatOutgoing(rule, sets)).toEqual({
      chain: 'cali-nat-outgoing',
      sources: ['10.9.0.0/16'],
      except: ['10.9.0.0/16'],
    });
    expect(parseNatOutgoing(rule, new Map())?.problem).toContain('cali40masq-ipam-pools');
  });

  // Written after felix/rules/static.go and nat.go, not recorded.
  describe("about Calico's rules against service addresses that go round", () => {
    const rules = (forward: readonly string[]) =>
      [
        '*filter',
        ...forward,
        '-A cali-FORWARD -i cali+ -m comment --comment "cali:8ZoYfO5HKXWbB3pk" -j cali-from-wl-dispatch',
        '-A cali-FORWARD -m comment --comment "cali:9CcNi3OpGZ" -j cali-cidr-block',
        '-A cali-cidr-block -d 10.96.0.0/12 -m comment --comment "cali:8hK" -j DROP',
        '-A cali-cidr-block -d 2.2.2.2/32 -m comment --comment "cali:Rw3" -j DROP',
        'COMMIT',
        '',
      ].join('\n');
    const calico = '-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD';
    const kube = '-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes" -j KUBE-SERVICES';

    it('reads them, and whether they come before those of kube-proxy', () => {
      const loop = { action: 'drop', prefixes: ['10.96.0.0/12', '2.2.2.2/32'] };
      expect(parseServiceLoop(rules([calico, kube]))).toEqual({ ...loop, isFirst: true });
      expect(parseServiceLoop(rules([kube, calico]))).toEqual({ ...loop, isFirst: false });
      expect(parseServiceLoop(rules([calico]).replaceAll('DROP', 'REJECT'))?.action).toBe('reject');
    });

    it('finds none where nothing leads to them', () => {
      expect(parseServiceLoop(FILTER)).toBeUndefined();
      expect(parseServiceLoop('')).toBeUndefined();
      expect(parseServiceLoop(rules([kube]))).toBeUndefined();
      expect(parseServiceLoop(rules([calico]).replace('-j cali-cidr-block', '-j other'))).toBeUndefined();
      expect(() => parseServiceLoop('iptables: permission denied')).toThrow('not what iptables-save prints');
    });
  });
});

/** The end of `iptables-save -t filter` of a node of Kubernetes 1.20.2. */
const FILTER = `*filter
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
`;

/** A machine that prints what was recorded, in the form that `ask` wants: one shell script for all questions. */
function recordedMachine(answers: readonly string[], code = 0): Executor {
  const mark = '\u001e';
  return {
    where: 'k8sworker1',
    run: async () => ({
      exitCode: 0,
      stdout: answers.map((text) => `${text}${mark}${code}${mark}`).join(''),
      stderr: answers.map(() => mark).join(''),
    }),
  };
}

describe('readMachine', () => {
  const base = ['route.json', 'addr.json', 'rule.json', 'sysctl.txt'].map((name) =>
    recorded(`k8sworker1-${name}`),
  );

  it('asks everything in one call', async () => {
    const machine = await readMachine(
      'k8sworker1',
      recordedMachine([...base, recorded('k8sworker1-nat.txt'), FILTER, '', '']),
      true,
    );
    expect(machine).toMatchObject({
      name: 'k8sworker1',
      ipForward: true,
      hashPolicy: 0,
      routeLocalnet: true,
      dropsInvalid: true,
      policyRules: [],
      natOutgoing: { chain: 'LAB-NAT-OUTGOING' },
    });
    expect(machine).not.toHaveProperty('problem');
  });

  it('leaves out what no reader knows, names it, and knows the rest', async () => {
    const [routes = '', addresses = '', rules = '', sysctls = ''] = base;
    const machine = await readMachine(
      'k8sworker1',
      recordedMachine([
        routes.replace('[', '[{"dst":7},'),
        addresses.replace('[', '["lo",'),
        rules,
        `${sysctls}net.ipv4.icmp_msgs = many\n`,
        // What iptables-nft-save 1.8.9 says where nft has put a rule of its own into the table "ip nat".
        `${recorded('k8sworker1-nat.txt')}Error: unknown ipv4 meta key\niptables-save -t nat ended with 3\n`,
        "# Table `filter' is incompatible, use 'nft' tool.\n",
        '',
        '',
      ]),
      true,
    );
    const { unread, dropsInvalid, ...rest } = machine;
    expect(rest).toEqual(
      (({ dropsInvalid: _, ...healthy }) => healthy)(
        await readMachine(
          'k8sworker1',
          recordedMachine([...base, recorded('k8sworker1-nat.txt'), FILTER, '', '']),
          true,
        ),
      ),
    );
    expect(dropsInvalid).toBe(false);
    expect(unread).toEqual([
      '{"dst":7}',
      '"lo"',
      'net.ipv4.icmp_msgs = many',
      'Error: unknown ipv4 meta key',
      'iptables-save -t nat ended with 3',
      "# Table `filter' is incompatible, use 'nft' tool.",
    ]);
    const state = { ...endpointsOf(), machines: new Map([['k8sworker1', machine]]) };
    expect(checkState(state)[0]).toMatchObject({
      id: 'state.k8sworker1',
      verdict: 'skipped',
      reason: 'partly-read',
      seen: { unread: machine.unread },
    });
  });

  it.each([
    ['an answer that cannot be read', recordedMachine(['no JSON', ...base.slice(1)])],
    ['a command that fails', recordedMachine(base, 1)],
    [
      'a machine that cannot be reached',
      { where: 'x', run: () => Promise.reject(new Error('connection lost')) },
    ],
  ])('says what is wrong: %s', async (_, executor) => {
    const machine = await readMachine('k8sworker1', executor, false);
    expect(machine.problem).toMatch(/could not be read|exit code|connection lost|\[\{/);
    const state = { ...endpointsOf(), machines: new Map([['k8sworker1', machine]]) };
    expect(checkState(state)[0]).toMatchObject({ id: 'state.k8sworker1', verdict: 'harness' });
  });
});
