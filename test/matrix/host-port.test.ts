import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { parseHostPortMasquerades } from '../../scripts/matrix/state/nat.ts';
import type { ObservedState } from '../../scripts/matrix/state/types.ts';
import { CLIENT_IP, endpointsOf, POD_IPS, planOf } from './fixtures.ts';

/** As recorded on a node of the default lab, for a pod of the `bird` CNI. */
const RULES = `*nat
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-DN-5af0b34d3a4d9b1a4e0e9 -s 10.255.0.64/26 -p tcp -m tcp --dport 9090 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-5af0b34d3a4d9b1a4e0e9 -s 127.0.0.1/32 -p tcp -m tcp --dport 9090 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-5af0b34d3a4d9b1a4e0e9 -p tcp -m tcp --dport 9090 -j DNAT --to-destination 10.255.0.74:1234
COMMIT
`;

/** echo-server1 with a host port, and what its node's rules masquerade. */
function withHostPort(ip?: string): ObservedState {
  const state = endpointsOf();
  const machines = new Map(state.machines);
  const worker = machines.get('k8sworker1');
  if (worker === undefined) throw new Error('no k8sworker1');
  machines.set('k8sworker1', { ...worker, hostPortMasquerades: parseHostPortMasquerades(RULES) });
  const host = { port: 9090, ...(ip === undefined ? {} : { ip }) };
  const pods = state.pods.map((pod) =>
    pod.name === 'echo-server1' ? { ...pod, ports: [{ port: 1234, protocol: 'tcp' as const, host }] } : pod,
  );
  return { ...state, machines, pods };
}

describe('a host port', () => {
  const cells = new Map(buildCells(planOf(), withHostPort()).map((cell) => [cell.id, cell]));
  const expected = (from: string) => cells.get(`${from}>pod/echo-server1/k8sworker1:9090/tcp`)?.expected;

  it('is a target on its own node only', () => {
    const ids = [...cells.keys()].filter((id) => id.includes(':9090/'));
    expect(ids.every((id) => id.includes('>pod/echo-server1/k8sworker1:'))).toBe(true);
    expect(ids).toHaveLength(8);
  });

  it('leads to its pod, which sees the client as it is', () => {
    for (const [from, client] of [
      ['routed', '192.168.13.40'],
      ['ubuntu', '192.168.13.104'],
      ['k8sworker2', '192.168.13.36'],
      ['k8sworker1', '192.168.13.35'],
    ] as const)
      expect(expected(from)).toMatchObject({ outcome: 'ok', servers: [POD_IPS[0]], clients: [client] });
    expect(expected('routed')?.why).toBe(
      'k8sworker1 leads the host port to pod echo-server1; the packet is routed to the pod, and nothing translates it.',
    );
  });

  it('shows the node to pods of its own network, as its rules say', () => {
    expect(expected('pod/echo-client1')).toMatchObject({ outcome: 'ok', clients: ['192.168.13.35'] });
    const state = withHostPort();
    const machines = new Map(state.machines);
    const worker = machines.get('k8sworker1');
    if (worker !== undefined) machines.set('k8sworker1', { ...worker, hostPortMasquerades: [] });
    const plain = buildCells(planOf(), { ...state, machines });
    const cell = plain.find(({ id }) => id === 'pod/echo-client1>pod/echo-server1/k8sworker1:9090/tcp');
    expect(cell?.expected.clients).toEqual([CLIENT_IP]);
  });

  it('may be kept for one address of the node', () => {
    const elsewhere = buildCells(planOf(), withHostPort('127.0.0.1'));
    const cell = elsewhere.find(({ id }) => id === 'k8sworker1>pod/echo-server1/k8sworker1:9090/tcp');
    expect(cell?.address).toBe('127.0.0.1');
    expect(cell?.expected).toMatchObject({ outcome: 'ok', clients: ['192.168.13.35'] });
    // On another machine this is its own loopback.
    const other = elsewhere.find(({ id }) => id === 'routed>pod/echo-server1/k8sworker1:9090/tcp');
    expect(other?.expected.outcome).toBe('refused');
  });
});

it("portmap's masquerading is read from its marks", () => {
  expect(parseHostPortMasquerades(RULES)).toEqual([
    { source: '10.255.0.64/26', protocol: 'tcp', port: 9090 },
    { source: '127.0.0.1/32', protocol: 'tcp', port: 9090 },
  ]);
});
