import { checkId } from '../bgp/checks/check.ts';
import type { Cell } from '../matrix/types.ts';
import type { LabPlan } from '../plan/types.ts';
import { nthAddress, parseCidr, sizeOf } from '../shared/ip.ts';
import {
  type ExpectedRed,
  type Fault,
  type Fitted,
  failedCell,
  failedCheck,
  type InapplicableFault,
  MARK,
  type Made,
  named,
} from './fault.ts';
import { letGo, type NodePortWay, nodePortWays, ownRule, pick, type Scene } from './scene.ts';

/** Faults on the way of single connections: rules, servers, clients. */
export function trafficFaults(scene: Scene): readonly (Fault | InapplicableFault)[] {
  const tcp = nodePortWays(scene, 'tcp');
  const udp = nodePortWays(scene, 'udp');
  const on = (ways: readonly NodePortWay[], id: string, title: string, make: Maker) =>
    named(id, title, withWay(scene, ways, make));
  // Of two chains of one priority the kernel asks the one that was made last first: kube-proxy's.
  const before = (make: Maker): Maker =>
    scene.state.proxy.mode === 'nftables'
      ? () => ({ skipped: "kube-proxy's nftables rules translate before any rule of iptables does" })
      : make;
  const reject = stopping('REJECT', '--reject-with', 'tcp-reset');
  return [
    on(tcp, 'drop-rule', 'a rule of a worker drops what it forwards to a pod', stopping('DROP')),
    on(tcp, 'reject-rule', 'a rule of a worker rejects what it forwards to a pod', reject),
    on(tcp, 'snat-rule', "a rule of a worker hides the client's address", snat),
    on(tcp, 'wrong-backend', 'a rule sends a connection to the pod of another worker', before(wrongBackend)),
    on(tcp, 'stopped-server', 'an echo server hangs', stoppedServer),
    on(tcp, 'wrong-answer', 'something else answers in place of an echo server', before(wrongAnswer)),
    on(udp, 'denied', 'a rule of a client drops its own datagrams', denied),
    on(udp, 'stale-conntrack', 'a UDP client is still sent to a pod that is gone', staleConntrack),
    named('gets-through', 'a node port answers that must not', getsThrough(scene, tcp)),
  ];
}

type Maker = (way: NodePortWay, other: NodePortWay, scene: Scene) => Fitted;

/** A fault on one way; the ways to other nodes must stay right. */
function withWay(scene: Scene, ways: readonly NodePortWay[], make: Maker): Fitted {
  const [way] = ways;
  const other = ways.find(({ node, cell }) => node !== way?.node && cell.from === way?.cell.from);
  if (way === undefined || other === undefined)
    return { skipped: 'it takes a node port that two workers answer with pods of their own' };
  return make(way, other, scene);
}

/** A cell that got no answer because this rule of ours stopped it. */
function stoppedBy(id: string, at: string, chain: string, target: string): ExpectedRed {
  return failedCell(id, {
    finding: { reason: 'other-outcome' },
    difference: { reason: 'stopped', at, rule: { chain, target, comment: MARK } },
  });
}

/** A rule of a worker that stops what it forwards to a pod. */
function stopping(target: string, ...how: readonly string[]) {
  return ({ cell, node, clientAddress, podAddress }: NodePortWay, other: NodePortWay, scene: Scene): Made => {
    const rule = ['-s', clientAddress, '-d', podAddress, '-p', 'tcp', '-j', target, ...how];
    const { add, remove } = ownRule(scene, node, 'filter', 'FORWARD', rule);
    return {
      inject: [add],
      revert: [remove],
      cells: [cell.id, other.cell.id],
      expect: [stoppedBy(cell.id, node, 'FORWARD', target)],
    };
  };
}

function snat(way: NodePortWay, other: NodePortWay, scene: Scene): Made {
  const { cell, node, nodeAddress, clientAddress, podAddress } = way;
  const how = ['-j', 'SNAT', '--to-source', nodeAddress];
  const rule = ['-s', clientAddress, '-d', podAddress, '-p', 'tcp', ...how];
  const { add, remove } = ownRule(scene, node, 'nat', 'POSTROUTING', rule);
  const finding = { reason: 'wrong-source', client: nodeAddress, wanted: [clientAddress] } as const;
  return {
    inject: [add],
    revert: [remove],
    cells: [cell.id, other.cell.id],
    expect: [failedCell(cell.id, { finding })],
  };
}

/** Rules of a node that lead what a client sends to one of its ports to this pod. */
function leadingTo(
  { podAddress, podPort }: NodePortWay,
  { address, port }: Cell,
  node: string,
  clientAddress: string,
  scene: Scene,
): Pick<Made, 'inject' | 'revert'> {
  const from = ['-s', clientAddress, '-p', 'tcp'];
  const backend = `${podAddress}:${podPort}`;
  const sent = ['-d', address, '--dport', String(port), '-j', 'DNAT', '--to-destination', backend];
  const redirect = ownRule(scene, node, 'nat', 'PREROUTING', [...from, ...sent]);
  // Without it the answer would not come back this way.
  const masquerade = [...from, '-d', podAddress, '-j', 'MASQUERADE'];
  const back = ownRule(scene, node, 'nat', 'POSTROUTING', masquerade);
  return { inject: [back.add, redirect.add], revert: [redirect.remove, back.remove] };
}

function wrongBackend(way: NodePortWay, other: NodePortWay, scene: Scene): Made {
  const { cell, node, clientAddress } = way;
  const finding = { reason: 'wrong-backend', server: other.podAddress, wanted: [way.podAddress] } as const;
  return {
    ...leadingTo(other, cell, node, clientAddress, scene),
    cells: [cell.id, other.cell.id],
    expect: [failedCell(cell.id, { finding })],
  };
}

/** The servers' processes as their node sees them: from the beginning, so that no shell that names them is meant. */
const TCP_SERVER = '^python3 /echo/echo_server\\.py tcp';

function stoppedServer({ cell, node }: NodePortWay, other: NodePortWay): Made {
  return {
    inject: [{ on: node, argv: ['pkill', '-STOP', '-f', TCP_SERVER] }],
    revert: [letGo(node, '-f', TCP_SERVER)],
    cells: [cell.id, other.cell.id],
    expect: [
      failedCell(cell.id, {
        outcome: 'timeout',
        finding: { reason: 'other-outcome' },
        difference: { reason: 'server-silent' },
      }),
    ],
  };
}

const FAKE_PORT = 4999;
const FAKE_SERVER = `
import socket
server = socket.create_server(("", ${FAKE_PORT}))
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello\\n")
    connection.close()
`;

function wrongAnswer(way: NodePortWay, other: NodePortWay, scene: Scene): Made {
  const { cell, node, clientAddress, nodeAddress } = way;
  const unit = `${MARK}-server`;
  const how = ['--dport', String(cell.port), '-j', 'REDIRECT', '--to-ports', String(FAKE_PORT)];
  const rule = ['-s', clientAddress, '-d', nodeAddress, '-p', 'tcp', ...how];
  const { add, remove } = ownRule(scene, node, 'nat', 'PREROUTING', rule);
  return {
    inject: [
      {
        on: node,
        argv: ['systemd-run', '--quiet', '--collect', `--unit=${unit}`, 'python3', '-c', FAKE_SERVER],
      },
      add,
    ],
    revert: [
      remove,
      {
        on: node,
        argv: ['sh', '-c', 'if systemctl --quiet is-active "$0"; then systemctl stop "$0"; fi', unit],
      },
    ],
    effective: [
      {
        on: node,
        what: 'the wrong server to listen',
        argv: ['ss', '-Hltn', `sport = :${FAKE_PORT}`],
        until: /LISTEN/,
      },
    ],
    cells: [cell.id, other.cell.id],
    expect: [
      failedCell(cell.id, {
        outcome: 'corrupt',
        finding: { reason: 'other-outcome' },
        difference: {
          reason: 'answered-locally',
          at: node,
          rule: { chain: 'PREROUTING', comment: MARK, target: 'REDIRECT' },
        },
      }),
    ],
  };
}

function denied({ cell }: NodePortWay, other: NodePortWay, scene: Scene): Made {
  const rule = ['-d', cell.address, '-p', 'udp', '--dport', String(cell.port), '-j', 'DROP'];
  const { add, remove } = ownRule(scene, cell.from, 'filter', 'OUTPUT', rule);
  return {
    inject: [add],
    revert: [remove],
    cells: [cell.id, other.cell.id],
    expect: [stoppedBy(cell.id, cell.from, 'OUTPUT', 'DROP')],
  };
}

/** A source port that no probe gets: it is below the range of Linux (ip_local_port_range). */
const KEPT_PORT = 20_001;

function staleConntrack(way: NodePortWay, other: NodePortWay, { plan }: Scene): Made {
  const { cell, node, nodeAddress, clientAddress, podPort } = way;
  const gone = lastPodAddress(plan);
  const tuple = ['-p', 'udp', '-s', clientAddress, '-d', nodeAddress];
  const ports = ['--sport', String(KEPT_PORT), '--dport', String(cell.port)];
  const reply = ['-r', gone, '-q', clientAddress, '--reply-port-src', String(podPort)];
  const entry = [...tuple, ...ports, ...reply, '--reply-port-dst', String(KEPT_PORT), '-t', '120'];
  const remove = 'if conntrack -L "$@" 2>/dev/null | grep -q .; then conntrack -D "$@"; fi';
  const stale = {
    client: clientAddress,
    clientPort: KEPT_PORT,
    destination: nodeAddress,
    port: cell.port,
    backend: gone,
    service: cell.service,
  };
  return {
    inject: [{ on: node, argv: ['conntrack', '-I', ...entry] }],
    revert: [{ on: node, argv: ['sh', '-c', remove, 'sh', ...tuple, ...ports] }],
    cells: [cell.id, other.cell.id],
    expect: [
      failedCheck(checkId('udp-flows', { machine: node }), { reason: 'stale', seen: { stale: [stale] } }),
    ],
  };
}

/** What must not work works: a test that only ever looks for answers would be content. */
function getsThrough(scene: Scene, ways: readonly NodePortWay[]): Fitted {
  const [way] = ways;
  const closed = pick(
    scene.cells,
    (cell) =>
      cell.kind === 'node-port' &&
      cell.protocol === 'tcp' &&
      cell.from === way?.cell.from &&
      cell.expected.outcome === 'timeout',
  );
  if (way === undefined || closed?.node === undefined)
    return { skipped: 'it takes a node whose port must not answer, and one whose port must' };
  return {
    ...leadingTo(way, closed, closed.node, way.clientAddress, scene),
    cells: [closed.id, way.cell.id],
    expect: [failedCell(closed.id, { finding: { reason: 'got-through', server: way.podAddress } })],
  };
}

/** The last address of the pod network: it lies in the block that would be given to a node last. */
function lastPodAddress({ kubernetes: { podCidr } }: LabPlan): string {
  const cidr = parseCidr(podCidr);
  if (cidr === undefined) throw new Error(`not a pod CIDR: ${podCidr}`);
  return nthAddress(cidr, sizeOf(cidr.length) - 2);
}
