import { checkId } from '../bgp/checks/check.ts';
import { nodesOf, routerPeers } from '../bgp/checks/expected.ts';
import { externalAddresses } from '../matrix/endpoints.ts';
import { networkOf } from '../matrix/expect/network-state.ts';
import { theMachine } from '../plan/types.ts';
import {
  type Fault,
  type Fitted,
  failedCheck,
  type InapplicableFault,
  KUBECTL,
  MARK,
  named,
} from './fault.ts';
import { literally, nodePortWays, ownRule, pick, type Scene } from './scene.ts';

/** Faults of routing: what the router learns, how it spreads, and what is announced. */
export function routingFaults(scene: Scene): readonly (Fault | InapplicableFault)[] {
  return [
    named('missing-next-hop', "the router refuses one worker's announcement", missingNextHop(scene)),
    named('session-down', 'a BGP session is shut down', sessionDown(scene)),
    named(
      'hash-policy-0',
      "the router sends all of one client's connections to one worker",
      hashPolicy(scene),
    ),
    named(
      'mtu-hole',
      "the router's link takes smaller packets, and the message that says so is lost",
      mtuHole(scene),
    ),
    named('blackhole', "the router has a blackhole for one pod's address", blackhole(scene)),
    named(
      'leaked-default-route',
      'the router announces a default route to the workers',
      leakedDefault(scene),
    ),
    named('unready-pod', 'a pod is not ready, but its worker still announces the service', unreadyPod(scene)),
  ];
}

/** An external address that the router spreads over at least two nodes. */
function spreadAddress({ plan, state }: Scene) {
  const router = theMachine(plan, 'router');
  const machine = networkOf(state).machine(router.name);
  for (const service of state.services) {
    for (const address of externalAddresses(service)) {
      const found = machine?.lookup(address);
      const hops = found?.kind === 'route' ? found.route.hops.flatMap(({ gateway }) => gateway ?? []) : [];
      if (hops.length > 1) return { service, address, hops: [...hops].sort(), router: router.name };
    }
  }
  return undefined;
}

const TOO_FEW_HOPS = 'it takes an external address that two workers announce to the router';

/** Cells that show that traffic still flows: the answered ones to this address. */
function externalCells({ cells }: Scene, address: string | undefined): readonly string[] {
  return cells
    .filter((cell) => cell.address === address && cell.expected.outcome === 'ok')
    .map(({ id }) => id);
}

/** From the router to every pod. */
function cellsToPods({ plan, cells }: Scene): readonly string[] {
  const router = theMachine(plan, 'router').name;
  return cells.filter(({ from, kind }) => from === router && kind === 'pod').map(({ id }) => id);
}

function configure(...lines: readonly string[]): readonly string[] {
  return ['vtysh', ...['configure terminal', ...lines].flatMap((line) => ['-c', line])];
}

function routerAs({ plan }: Scene): string {
  return `router bgp ${plan.bgp.routerAsn}`;
}

function missingNextHop(scene: Scene): Fitted {
  const spread = spreadAddress(scene);
  if (spread === undefined) return { skipped: TOO_FEW_HOPS };
  const { address, hops, router } = spread;
  const [gone = '', ...left] = hops;
  const list = MARK.toUpperCase();
  const family = [routerAs(scene), 'address-family ipv4 unicast'];
  return {
    inject: [
      {
        on: router,
        argv: configure(
          `ip prefix-list ${list} seq 5 deny ${address}/32`,
          `ip prefix-list ${list} seq 10 permit any`,
          ...family,
          `neighbor ${gone} prefix-list ${list} in`,
        ),
      },
    ],
    revert: [
      ifConfigured(router, list, configure(...family, `no neighbor ${gone} prefix-list ${list} in`)),
      ifConfigured(router, list, configure(`no ip prefix-list ${list}`)),
    ],
    effective: [
      {
        on: router,
        what: 'the router to drop the next hop',
        argv: ['sh', '-c', 'ip route show "$0" | grep -c -w "$1" || true', address, gone],
        until: /^0$/m,
      },
    ],
    cells: externalCells(scene, address),
    expect: [
      failedCheck(checkId('route', { machine: router, table: 'bgp', prefix: `${address}/32` }), {
        reason: 'wrong-next-hops',
        wanted: { nextHops: hops },
        seen: { nextHops: left },
      }),
      {
        kind: 'check',
        id: checkId('route', { machine: router, table: 'kernel', prefix: `${address}/32` }),
        verdict: 'blocked',
        reason: 'wrong-next-hops',
        blockedBy: checkId('route', { machine: router, table: 'bgp', prefix: `${address}/32` }),
      },
    ],
    // Cells that need the next hop are blocked by the check.
    alsoRed: [`bgp.route.${router}.*.${address}/32`, `*>*/${address}:*`],
  };
}

/** Runs a command of vtysh only where the running configuration holds the word: "no" for what is not there fails. */
function ifConfigured(on: string, word: string, argv: readonly string[]) {
  const guard = 'word=$1; shift; if vtysh -c "show running-config" | grep -q -e "$word"; then "$@"; fi';
  return { on, argv: ['sh', '-c', guard, 'sh', word, ...argv] };
}

function sessionDown(scene: Scene): Fitted {
  const { plan } = scene;
  const router = theMachine(plan, 'router');
  const peer = routerPeers(plan).at(-1);
  if (peer === undefined) return { skipped: 'it takes a node that has a session with the router' };
  const neighbor = (command: string) => configure(routerAs(scene), command);
  return {
    inject: [{ on: router.name, argv: neighbor(`neighbor ${peer.address} shutdown`) }],
    revert: [
      ifConfigured(
        router.name,
        `neighbor ${peer.address} shutdown`,
        neighbor(`no neighbor ${peer.address} shutdown`),
      ),
    ],
    effective: [
      {
        on: peer.name,
        what: `${peer.name} to see its session go down`,
        argv: [
          'sh',
          '-c',
          'ip route show "$0" | grep -c . || true',
          plan.bgp.routerPrefixes[0] ?? '0.0.0.0/32',
        ],
        until: /^0$/m,
      },
    ],
    cells: externalCells(scene, spreadAddress(scene)?.address),
    expect: [
      failedCheck(`bgp.session.*${peer.name}*`, {
        reason: 'not-established',
        seen: { ends: [{ machine: router.name, state: /^Idle/ }] },
      }),
    ],
    // Cells that need its routes are blocked by the session.
    alsoRed: ['bgp.route.*', '*>*'],
  };
}

function hashPolicy(scene: Scene): Fitted {
  const spread = spreadAddress(scene);
  if (spread === undefined) return { skipped: TOO_FEW_HOPS };
  const { router, address } = spread;
  const set = (policy: number) => ['sysctl', '-w', `net.ipv4.fib_multipath_hash_policy=${policy}`];
  return {
    inject: [{ on: router, argv: set(0) }],
    revert: [{ on: router, argv: set(scene.state.machines.get(router)?.hashPolicy ?? 1) }],
    cells: externalCells(scene, address),
    expect: [
      failedCheck(checkId('hash-policy', { machine: router }), {
        reason: 'other-policy',
        wanted: { policy: 1 },
        seen: { policy: 0 },
      }),
    ],
  };
}

/** Less than any link of a lab, and what every IPv6 link takes. */
const SMALL_MTU = 1280;
const USUAL_MTU = 1500;

function mtuHole(scene: Scene): Fitted {
  const { name: router, address } = theMachine(scene.plan, 'router');
  const over = scene.cells.filter(
    ({ from, protocol, expected: { outcome, chain } }) =>
      protocol === 'tcp' && outcome === 'ok' && from !== router && chain.some(({ at }) => at === router),
  );
  const link = scene.state.machines
    .get(router)
    ?.interfaces.find(({ addresses }) => addresses.some((each) => each.address === address));
  if (over.length === 0 || link === undefined)
    return { skipped: 'it takes a connection that leads over the router' };
  const { add, remove } = ownRule(scene, router, 'filter', 'OUTPUT', [
    ...['-p', 'icmp', '--icmp-type', 'fragmentation-needed', '-j', 'DROP'],
  ]);
  const set = (mtu: number) => ({ on: router, argv: ['ip', 'link', 'set', link.name, 'mtu', String(mtu)] });
  return {
    inject: [add, set(SMALL_MTU)],
    revert: [set(link.mtu ?? USUAL_MTU), remove],
    cells: over.map((cell) => cell.id),
    expect: [
      failedCheck(checkId('full-size', {}), {
        reason: 'small-link',
        seen: { holes: [{ machines: [router], link: { name: link.name, mtu: SMALL_MTU } }] },
      }),
    ],
  };
}

function blackhole(scene: Scene): Fitted {
  const router = theMachine(scene.plan, 'router').name;
  const cell = pick(
    scene.cells,
    ({ kind, from, expected }) => kind === 'pod' && from === router && expected.outcome === 'ok',
  );
  if (cell === undefined) return { skipped: 'it takes a pod that the router reaches' };
  const prefix = `${cell.address}/32`;
  return {
    inject: [{ on: router, argv: ['ip', 'route', 'add', 'blackhole', prefix] }],
    revert: [
      {
        on: router,
        argv: [
          'sh',
          '-c',
          'if ip route show type "$@" | grep -q .; then ip route del "$@"; fi',
          'sh',
          'blackhole',
          prefix,
        ],
      },
    ],
    cells: cellsToPods(scene),
    expect: [
      failedCheck(checkId('unplanned-routes', { machine: router }), {
        reason: 'unwanted',
        seen: { held: [{ prefix, tables: ['kernel'], nextHops: ['blackhole'] }] },
      }),
    ],
    alsoRed: [`${router}>*`],
  };
}

const DEFAULT = '0.0.0.0/0';

function leakedDefault(scene: Scene): Fitted {
  const { plan } = scene;
  const router = theMachine(plan, 'router').name;
  const [first] = routerPeers(plan);
  if (first === undefined) return { skipped: 'it takes a node that has a session with the router' };
  const command = 'neighbor K8S default-originate';
  const set = (line: string) => configure(routerAs(scene), 'address-family ipv4 unicast', line);
  return {
    inject: [{ on: router, argv: set(command) }],
    revert: [ifConfigured(router, command, set(`no ${command}`))],
    effective: [
      {
        on: router,
        what: 'the router to announce it',
        argv: ['vtysh', '-c', `show bgp ipv4 unicast neighbors ${first.address} advertised-routes json`],
        until: new RegExp(literally(`"${DEFAULT}"`)),
      },
    ],
    cells: cellsToPods(scene),
    expect: [
      failedCheck(checkId('unplanned-routes', { machine: router }), {
        reason: 'unwanted',
        seen: { offered: routerPeers(plan).map(({ name }) => ({ prefix: DEFAULT, to: name })) },
      }),
    ],
  };
}

const SIGNAL_ANNOUNCER = ['systemctl', 'kill', 'lab-announcer.service'];

function unreadyPod(scene: Scene): Fitted {
  const spread = spreadAddress(scene);
  const { plan, state } = scene;
  const endpoint = spread?.service.endpoints.find(({ node, pod }) => node !== undefined && pod !== undefined);
  const { node, pod } = endpoint ?? {};
  if (plan.choices.cni.value !== 'bird')
    return { skipped: "it stops the lab's own announcer, which only the bird CNI has" };
  const isAlone = spread?.service.endpoints.filter((each) => each.node === node).length === 1;
  if (spread === undefined || endpoint === undefined || node === undefined || pod === undefined || !isAlone)
    return { skipped: TOO_FEW_HOPS };
  const { address, hops } = spread;
  const own = nodesOf(plan).find(({ name }) => name === node)?.address ?? '';
  const right = hops.filter((hop) => hop !== own);
  // kubelet's readiness probe comes from the node itself.
  const how = ['-d', endpoint.ip, '-p', 'tcp', '-j', 'REJECT', '--reject-with', 'tcp-reset'];
  const { add, remove } = ownRule(scene, node, 'filter', 'OUTPUT', how);
  const others = state.pods.filter(({ name }) => name === pod).map(({ name }) => `pod/${name}`);
  return {
    inject: [{ on: node, argv: [...SIGNAL_ANNOUNCER, '--signal=STOP'] }, add],
    revert: [remove, { on: node, argv: [...SIGNAL_ANNOUNCER, '--signal=CONT'] }],
    effective: [
      {
        on: KUBECTL,
        what: `pod ${pod} to lose its readiness`,
        argv: [
          ...['get', 'endpoints', '-n', plan.echo.namespace, spread.service.name],
          ...['-o', 'jsonpath=[{.subsets[*].notReadyAddresses[*].targetRef.name}]'],
        ],
        until: new RegExp(`[[ ]${literally(pod)}[\\] ]`),
      },
      ...nodesOf(plan).map(({ name }) => ({
        on: name,
        what: `kube-proxy of ${name} to follow`,
        argv: ['sh', '-c', 'iptables-save -t nat | grep -c -w -e "--to-destination $0" || true', endpoint.ip],
        until: /^0$/m,
      })),
    ],
    cells: nodePortWays(scene, 'tcp')
      .filter((way) => way.node !== node)
      .map(({ cell }) => cell.id),
    expect: [
      failedCheck(checkId('route', { machine: node, table: 'bird', prefix: `${address}/32` }), {
        reason: 'wrong-next-hops',
        wanted: { nextHops: right },
        seen: { nextHops: ['blackhole'] },
      }),
    ],
    alsoRed: [`bgp.route.*.${address}/32`, ...others],
  };
}
