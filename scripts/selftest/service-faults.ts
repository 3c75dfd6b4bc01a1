import { externalAddresses } from '../matrix/endpoints.ts';
import { machinesOf, theMachine } from '../plan/types.ts';
import {
  type Fault,
  type Fitted,
  failedCell,
  failedCheck,
  type InapplicableFault,
  KUBECTL,
  MARK,
  named,
} from './fault.ts';
import { letGo, nodePortWays, pick, type Scene } from './scene.ts';

/** Faults of what everything leans on: the cluster's DNS, and labtest's own means. */
export function serviceFaults(scene: Scene): readonly (Fault | InapplicableFault)[] {
  return [
    named(
      'half-announced-address',
      'two services share an external address, and one of them is on one node only',
      halfAnnounced(scene),
    ),
    named('dns-stopped', "the cluster's DNS server hangs", dnsStopped(scene)),
    named('missing-tool', 'a client lacks what the probe needs', missingTool(scene)),
    named('ssh-killed', "a client's SSH server is killed while the test runs", sshKilled(scene)),
  ];
}

/** What a node's rules have that matches $1, of whichever kind they are. */
const FIND_RULE = '{ iptables-save; nft list ruleset; } 2>/dev/null | grep -m 1 -o -E "$1" || echo nothing';

/** A port that no service of the lab has. */
const UNUSED_PORT = 7777;

/**
 * A second service on an external address, with an endpoint on one of the nodes only: BGP announces an address and not a
 * port, so that the router also sends what is for it to nodes that drop it.
 */
function halfAnnounced({ plan, state, cells }: Scene): Fitted {
  const { namespace } = plan.echo;
  const shared = state.services.find(
    (service) =>
      service.policy === 'Local' &&
      externalAddresses(service).length > 0 &&
      new Set(service.endpoints.flatMap(({ ready, node }) => (ready ? (node ?? []) : []))).size > 1,
  );
  const answered = pick(
    cells,
    ({ kind, service, expected, from }) =>
      kind === 'external-ip' &&
      service === shared?.name &&
      expected.outcome === 'ok' &&
      from === theMachine(plan, 'router').name,
  );
  const endpoint = shared?.endpoints.find(({ ready, node }) => ready && node !== undefined);
  const [port] = Object.values(endpoint?.ports ?? {});
  if (answered === undefined || endpoint === undefined || port === undefined)
    return { skipped: 'it takes an external address with policy Local and pods on two nodes' };
  const metadata = { name: MARK, namespace };
  const { ip, node: nodeName, pod } = endpoint;
  const targetRef = pod === undefined ? {} : { targetRef: { kind: 'Pod', name: pod, namespace } };
  const objects = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        externalIPs: [answered.address],
        ports: [{ name: 'tcp', port: UNUSED_PORT, targetPort: port }],
      },
    },
    // Kubernetes itself makes an EndpointSlice of it, in whatever version it has.
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata,
      subsets: [{ addresses: [{ ip, nodeName, ...targetRef }], ports: [{ name: 'tcp', port }] }],
    },
  ];
  const cell = `${answered.from}>${MARK}/${answered.address}:${UNUSED_PORT}/tcp`;
  return {
    inject: [
      {
        on: KUBECTL,
        argv: ['apply', '-f', '-'],
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
      },
    ],
    revert: [
      { on: KUBECTL, argv: ['delete', 'service,endpoints', MARK, '-n', namespace, '--ignore-not-found'] },
    ],
    effective: machinesOf(plan, 'control-plane', 'worker').map(({ name }) => ({
      on: name,
      argv: ['sh', '-c', FIND_RULE, 'sh', `${namespace}/${MARK}:tcp.* DNAT|${MARK}/tcp/tcp__${ip}`],
      what: `kube-proxy of ${name} to have the service`,
      until: new RegExp(MARK),
    })),
    cells: [cell, answered.id],
    expect: [failedCell(cell, { finding: { reason: 'chance' } })],
    // Names of the service, which cluster DNS may not know yet.
    alsoRed: [`dns.*${MARK}*`],
  };
}

const DNS_SERVER = '^(dnsmasq|coredns)$';

function dnsStopped({ plan, cells }: Scene): Fitted {
  const from = `pod/${plan.echo.clientPod.pod}`;
  const on = theMachine(plan, 'control-plane').name;
  const direct = pick(
    cells,
    (cell) => cell.from === from && cell.kind === 'pod' && cell.expected.outcome === 'ok',
  );
  if (direct === undefined) return { skipped: 'it takes a client pod that reaches a server' };
  return {
    inject: [{ on, argv: ['pkill', '-STOP', DNS_SERVER] }],
    revert: [letGo(on, DNS_SERVER)],
    // Names are asked for by the checks; cells that need one would only wait for the same silence again.
    cells: [direct.id],
    expect: [failedCheck('dns.a.*', { reason: 'no-answer', seen: { outcome: 'dns-error' } })],
    alsoRed: ['dns.*'],
  };
}

/** A client with a node port that answers, and one of another machine that must stay right. */
function clientCells(scene: Scene) {
  const ways = nodePortWays(scene, 'tcp');
  const [way] = ways;
  const other = ways.find(({ cell }) => cell.from !== way?.cell.from);
  return way === undefined || other === undefined ? undefined : { broken: way.cell, right: other.cell };
}

const ONE_CLIENT = 'it takes two clients that reach a node port';

function missingTool(scene: Scene): Fitted {
  const found = clientCells(scene);
  if (found === undefined) return { skipped: ONE_CLIENT };
  const { broken, right } = found;
  const away = `/usr/bin/${MARK}-python3`;
  return {
    inject: [{ on: broken.from, argv: ['mv', '/usr/bin/python3', away] }],
    revert: [
      { on: broken.from, argv: ['sh', '-c', 'if [ -e "$0" ]; then mv "$0" /usr/bin/python3; fi', away] },
    ],
    cells: [broken.id, right.id],
    expect: [
      {
        kind: 'cell',
        id: broken.id,
        verdict: 'harness',
        finding: { reason: 'probe-failed', said: /python3.*(not found|No such file)/ },
      },
    ],
  };
}

/** Seconds after which the machine starts sshd by itself, so that it can be reached again whatever becomes of us. */
const SSH_BACK_SECONDS = 4;

function sshKilled(scene: Scene): Fitted {
  const found = clientCells(scene);
  if (found === undefined) return { skipped: ONE_CLIENT };
  const { broken, right } = found;
  const later = (name: string, options: readonly string[], argv: readonly string[]) => ({
    on: broken.from,
    argv: ['systemd-run', '--quiet', '--collect', `--unit=${MARK}-${name}`, ...options, ...argv],
  });
  const timer = [`--on-active=${SSH_BACK_SECONDS}`, '--timer-property=AccuracySec=100ms'];
  return {
    moment: 'during',
    inject: [
      later('ssh-back', timer, ['systemctl', 'start', 'ssh']),
      later('ssh-kill', [], ['sh', '-c', 'systemctl stop ssh; pkill -KILL -x sshd']),
    ],
    revert: [{ on: broken.from, argv: ['systemctl', 'start', 'ssh'] }],
    effective: [
      {
        on: broken.from,
        what: `${broken.from} to be out of reach`,
        argv: ['true'],
        until: 'unreachable',
      },
    ],
    cells: [broken.id, right.id],
    expect: [{ kind: 'cell', id: broken.id, verdict: 'harness', finding: { reason: 'probe-failed' } }],
  };
}
