import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { explainCell } from '../../scripts/matrix/explain.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import { groupColumns } from '../../scripts/report/columns.ts';
import { endpointsOf, planOf } from './fixtures.ts';

const cells = buildCells(planOf(), endpointsOf(), { icmp: true });
const pings = cells.filter(({ protocol }) => protocol === 'icmp');

function ping(id: string) {
  const found = pings.find((cell) => cell.id === `${id}/icmp`);
  if (found === undefined) throw new Error(`no cell ${id}/icmp`);
  return found;
}

describe('pings', () => {
  it('are added to the matrix on request, each address once', () => {
    expect(buildCells(planOf(), endpointsOf()).some(({ protocol }) => protocol === 'icmp')).toBe(false);
    const targets = pings.filter(({ from }) => from === 'bgp');
    expect(new Set(targets.map(({ address }) => address)).size).toBe(targets.length);
    expect(groupColumns(pings).map(({ title, label, names }) => [title, label, names.length])).toEqual([
      ['ping', 'pod', 3],
      ['ping', 'node', 4],
      ['ping', 'ClusterIP', 4],
      ['ping', 'external', 1],
    ]);
  });

  it('are answered by pods and nodes wherever a route leads there', () => {
    for (const from of ['k8smaster1', 'pod/echo-client1', 'bgp', 'routed']) {
      expect(ping(`${from}>pod/echo-server1`).expected.outcome).toBe('ok');
      expect(ping(`${from}>node/k8sworker2`).expected.servers).toEqual(['192.168.13.36']);
    }
    expect(ping('ubuntu>pod/echo-server1').expected.outcome).toBe('no-route');
    expect(ping('ubuntu>node/k8sworker2').expected.outcome).toBe('ok');
  });

  it('get no answer from the addresses of services in iptables mode, and the reason says why', () => {
    const external = ping('routed>2.2.2.2').expected;
    expect(external.outcome).toBe('timeout');
    expect(external.why).toMatch(/^Kube-proxy translates TCP and UDP, no pings; .*blackhole route/);
    expect(ping('k8sworker1>2.2.2.2').expected.outcome).toBe('no-route');
    expect(ping('routed>echo-ci-tcp/cluster-ip').expected.outcome).toBe('timeout');
  });

  it('are judged by who answers: an answer shows no client address', () => {
    const cell = ping('bgp>pod/echo-server1');
    const seen = { outcome: 'ok', client: null, attempts: 1, connectMs: null, detail: null } as const;
    const verdict = (server: string) =>
      judgeCells([cell], new Map([[cell.id, { ...seen, server }]])).map((each) => each.verdict);
    expect(verdict(cell.address)).toEqual(['passed']);
    expect(verdict('10.255.9.9')).toEqual(['failed']);
    expect(explainCell(cell).join('\n')).toContain(`pings ${cell.address}`);
  });
});
