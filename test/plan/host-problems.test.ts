import { describe, expect, it } from 'vitest';
import { hostRoute } from '../../scripts/machines/host-facts.ts';
import { examineHost, problemsOf } from '../../scripts/plan/doctor/checks.ts';
import { hostNeeds } from '../../scripts/plan/doctor/resources.ts';
import {
  formatHostProblem,
  type HostFacts,
  hostError,
  parseResolvers,
} from '../../scripts/plan/host-facts.ts';
import type { LabPlan } from '../../scripts/plan/types.ts';
import { readLinks, readRoutes } from '../../scripts/shared/ip-json.ts';
import { GOOD_HOST } from './doctor/good-host.ts';
import { defaultPlan } from './fixtures.ts';

const GIB = 2 ** 30;
// One disk for everything.
const disk = (freeBytes: number) => ({
  disks: (['state', 'cache', 'machines'] as const).map((use) => ({
    use,
    path: '/var/lib',
    device: 1,
    freeBytes,
  })),
});
const GOOD: HostFacts = { ...GOOD_HOST, ...disk(50 * GIB) };

const route = (dst: string, kind: 'connected' | 'via' | 'blocked', dev?: string) => ({
  routes: [...GOOD.routes, { dst, kind, ...(dev === undefined ? {} : { dev }) }],
});
const everyMachine = defaultPlan.machines.map(({ name }) => name);

interface Case {
  readonly what: string;
  readonly facts: Partial<HostFacts>;
  /** Starts of the expected problems: "severity subject message". */
  readonly expected: readonly string[];
}

const cases: readonly Case[] = [
  { what: 'a bare host', facts: {}, expected: [] },
  { what: 'an ordinary user', facts: { uid: 1000 }, expected: ['error host user 1000 is not root'] },
  {
    what: 'a foreign interface with the bridge name',
    facts: { links: ['lo', 'labbr0'] },
    expected: ['error network.bridge the host already has an interface labbr0'],
  },
  {
    what: 'the network of another lab with the same bridge name and subnet',
    facts: { links: ['lo', 'labbr0'], ...route('192.168.13.0/24', 'connected', 'labbr0') },
    expected: [
      'error network.bridge the host already has an interface labbr0',
      "error network.subnet 192.168.13.0/24 overlaps the host's route 192.168.13.0/24 (connected, labbr0)",
    ],
  },
  {
    what: 'the running lab itself',
    facts: {
      links: ['lo', 'labbr0'],
      bridgeIsOurs: true,
      ...route('192.168.13.0/24', 'connected', 'labbr0'),
      addresses: [{ dev: 'labbr0', address: '192.168.13.1', prefixLength: 24 }],
    },
    expected: [],
  },
  {
    what: 'a connected network that is the lab subnet',
    facts: route('192.168.13.0/24', 'connected', 'eth1'),
    expected: [
      "error network.subnet 192.168.13.0/24 overlaps the host's route 192.168.13.0/24 (connected, eth1)",
    ],
  },
  {
    what: 'a wider connected network, reported once with its address',
    facts: {
      ...route('192.168.0.0/16', 'connected', 'eth1'),
      addresses: [{ dev: 'eth1', address: '192.168.13.77', prefixLength: 16 }],
    },
    expected: ["error network.subnet 192.168.13.0/24 overlaps the host's route 192.168.0.0/16 (connected"],
  },
  {
    what: 'an address without a route',
    facts: { addresses: [{ dev: 'lo', address: '192.168.13.77', prefixLength: 32 }] },
    expected: [
      "error network.subnet 192.168.13.0/24 holds the address 192.168.13.77 of the host's interface lo",
    ],
  },
  {
    what: 'a wider route through a gateway',
    facts: route('192.168.0.0/16', 'via', 'eth0'),
    expected: [
      "warning network.subnet 192.168.13.0/24 overlaps the host's route 192.168.0.0/16 (through a gateway, eth0); the lab's part",
    ],
  },
  {
    what: 'a narrower route through a gateway takes addresses from the lab',
    facts: route('192.168.13.32/27', 'via', 'eth0'),
    expected: ["error network.subnet 192.168.13.0/24 overlaps the host's route 192.168.13.32/27"],
  },
  {
    what: 'an equal blackhole',
    facts: route('192.168.13.0/24', 'blocked'),
    expected: ["error network.subnet 192.168.13.0/24 overlaps the host's route 192.168.13.0/24 (blocked)"],
  },
  {
    what: 'default routes in one and two parts',
    facts: {
      routes: [
        { dst: 'default', kind: 'connected', dev: 'ppp0' },
        { dst: '0.0.0.0/1', kind: 'via', dev: 'tun0' },
        { dst: '128.0.0.0/1', kind: 'via', dev: 'tun0' },
      ],
    },
    expected: [],
  },
  {
    what: 'a company network over the service and pod CIDR',
    facts: route('10.0.0.0/8', 'via', 'tun0'),
    expected: [
      "warning kubernetes.podCidr 10.255.0.0/16 overlaps the host's route 10.0.0.0/8 (through a gateway, tun0); only the lab's machines",
      "warning kubernetes.serviceCidr 10.96.0.0/12 overlaps the host's route 10.0.0.0/8",
    ],
  },
  {
    what: 'host routes to external and router prefixes',
    facts: {
      routes: [
        { dst: '2.2.2.2', kind: 'via', dev: 'eth0' },
        { dst: '203.0.113.0/24', kind: 'via', dev: 'eth0' },
        { dst: '5.5.0.0/16', kind: 'blocked' },
      ],
    },
    expected: [
      'warning kubernetes.loadBalancerCidr 203.0.113.16/28 overlaps',
      'warning echo.externalIp 2.2.2.2/32 overlaps',
      'warning bgp.routerPrefixes 5.5.5.5/32 overlaps',
    ],
  },
  {
    what: 'a name server in the lab subnet',
    facts: { resolvers: ['192.168.13.53'] },
    expected: ["error network.subnet 192.168.13.0/24 holds the host's name server 192.168.13.53"],
  },
  {
    what: 'name servers in the service and pod CIDR',
    facts: { resolvers: ['10.96.0.10', '10.255.1.1'] },
    expected: [
      "warning kubernetes.serviceCidr 10.96.0.0/12 holds the host's name server 10.96.0.10",
      "warning kubernetes.podCidr 10.255.0.0/16 holds the host's name server 10.255.1.1",
    ],
  },
  {
    what: 'too little disk to build',
    facts: disk(3 * GIB),
    expected: ['error host too little disk: /var/lib has 3.0 GiB free; 7.8 GiB are needed'],
  },
  {
    what: 'the same disk with a warm cache',
    facts: { ...disk(3 * GIB), missingArtifacts: [] },
    expected: [],
  },
  {
    what: 'too little memory',
    facts: { freeMemoryBytes: GIB },
    expected: ['error host too little memory: 1.0 GiB are available; 2.4 GiB are needed'],
  },
  {
    what: 'a full host on which the lab runs already',
    facts: { freeMemoryBytes: 0, ...disk(0), existingMachines: everyMachine, missingArtifacts: [] },
    expected: [],
  },
  {
    what: 'no network and something to build',
    facts: { networkReachable: false },
    expected: [
      'error host no network: no package mirror answers, and these must be built: kubernetes, machine image',
    ],
  },
  {
    what: 'no network and nothing to build',
    facts: { networkReachable: false, missingArtifacts: [] },
    expected: [],
  },
  {
    what: 'several at once, errors first',
    facts: { ...route('10.0.0.0/8', 'via', 'tun0'), uid: 7, freeMemoryBytes: 0 },
    expected: [
      'error host user 7',
      'error host too little memory',
      'warning kubernetes.podCidr',
      'warning kubernetes.serviceCidr',
    ],
  },
];

const checkHost = (plan: LabPlan, facts: HostFacts) => problemsOf(examineHost(plan, facts));

describe('the problems of a host', () => {
  it.each(cases)('$what', ({ facts, expected }) => {
    const found = checkHost(defaultPlan, { ...GOOD, ...facts });
    const lines = found.map(({ severity, subject, message }) => `${severity} ${subject} ${message}`);
    expect(lines.map((line, index) => line.slice(0, expected[index]?.length))).toEqual(expected);
    for (const { hint } of found) expect(hint.length).toBeGreaterThan(10);
  });

  it('names a subnet that is free', () => {
    const routes = [1, 2, 13].map((n) => ({
      dst: `192.168.${n}.0/24`,
      kind: 'connected' as const,
      dev: 'eth1',
    }));
    const [problem] = checkHost(defaultPlan, { ...GOOD, routes, resolvers: ['192.168.3.1'] });
    expect(problem?.hint).toContain('set network.subnet to 192.168.4.0/24');
  });

  it('names none where none is free', () => {
    const facts = { ...GOOD, ...route('192.168.0.0/16', 'connected', 'eth1') };
    expect(checkHost(defaultPlan, facts)[0]?.hint).toContain('to a network the host lacks');
  });
});

describe('hostError', () => {
  it('is a UserError with the errors only', () => {
    const problems = checkHost(defaultPlan, { ...GOOD, ...route('10.0.0.0/8', 'via', 'tun0'), uid: 7 });
    const error = hostError(problems);
    expect(error?.exitCode).toBe(2);
    expect(error?.details).toEqual(problems.slice(0, 1).map(formatHostProblem));
    expect(error?.details[0]).toBe(
      'host: user 7 is not root; bridges and system containers need it  (fix: run it as root, e.g. with sudo)',
    );
  });
  it('is absent where there are only warnings', () => {
    expect(hostError(checkHost(defaultPlan, { ...GOOD, ...route('10.0.0.0/8', 'via') }))).toBeUndefined();
  });
});

describe('hostNeeds', () => {
  it('counts only machines that are missing', () => {
    const { memoryBytes } = hostNeeds(defaultPlan, {
      existingMachines: ['k8smaster1'],
      missingArtifacts: [],
    });
    expect(memoryBytes).toBe((3 * 384 + 3 * 96) * 2 ** 20);
  });
});

describe('parsers of what the host says', () => {
  // Printed by iproute2 6.1 in a network namespace with one route of each kind.
  const kinds = `[{"dst":"10.9.0.0/24","dev":"v0","protocol":"kernel","scope":"link","prefsrc":"10.9.0.1","flags":[]},
    {"dst":"10.50.0.0/16","flags":[],"nexthops":[{"gateway":"10.9.0.2","dev":"v0","weight":1,"flags":[]},
      {"gateway":"10.9.0.3","dev":"v0","weight":1,"flags":[]}]},
    {"dst":"10.51.0.0/16","via":{"family":"inet6","host":"fe80::1"},"dev":"v0","flags":[]},
    {"type":"unreachable","dst":"198.51.100.0/24","flags":[]},{"type":"blackhole","dst":"203.0.113.0/24","flags":[]}]`;

  it('tell connected, gateway and blocked routes apart', () => {
    expect(readRoutes(kinds).map(hostRoute)).toEqual([
      { dst: '10.9.0.0/24', kind: 'connected', dev: 'v0' },
      { dst: '10.50.0.0/16', kind: 'via' },
      { dst: '10.51.0.0/16', kind: 'via', dev: 'v0' },
      { dst: '198.51.100.0/24', kind: 'blocked' },
      { dst: '203.0.113.0/24', kind: 'blocked' },
    ]);
    expect(readRoutes('\n')).toEqual([]);
    expect(() => readRoutes('Error: any valid prefix is expected')).toThrow(SyntaxError);
  });

  it('read addresses and links', () => {
    const json = `[{"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8},
      {"family":"inet6","local":"::1","prefixlen":128}]},{"ifindex":2,"ifname":"ifb0","addr_info":[]},{}]`;
    const address = { dev: 'lo', address: '127.0.0.1', prefixLength: 8, dynamic: false };
    expect(readLinks(json)).toEqual([
      { name: 'lo', addresses: [address], isTunnel: false },
      { name: 'ifb0', addresses: [], isTunnel: false },
    ]);
  });

  it('tell tunnels that are up from other links', () => {
    // tun0 as iproute2 6.1 prints it; WireGuard and PPP after the kernel's ARPHRD_NONE and ARPHRD_PPP (if_arp.h).
    const links = [
      { ifname: 'eth0', flags: ['BROADCAST', 'UP'], link_type: 'ether' },
      { ifname: 'wg0', flags: ['POINTOPOINT', 'NOARP', 'UP'], link_type: 'none' },
      { ifname: 'tun0', flags: ['POINTOPOINT', 'NOARP'], link_type: 'none' },
      { ifname: 'ppp0', flags: ['POINTOPOINT', 'UP'], link_type: 'ppp' },
      { ifname: 'lo', flags: ['LOOPBACK', 'UP'], link_type: 'loopback' },
      {},
    ];
    const tunnels = readLinks(JSON.stringify(links)).filter(({ isTunnel }) => isTunnel);
    expect(tunnels.map(({ name }) => name)).toEqual(['wg0', 'ppp0']);
  });

  it('read resolv.conf', () => {
    const text =
      '# nameserver 1.1.1.1\nnameserver 192.0.2.1\n nameserver\t8.8.8.8 # x\nnameserver fe80::1\nsearch a\n';
    expect(parseResolvers(text)).toEqual(['192.0.2.1', '8.8.8.8']);
  });
});
