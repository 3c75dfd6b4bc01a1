import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { parseFlows, withTracked } from '../../scripts/matrix/conntrack.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import type { Cell, Observation } from '../../scripts/matrix/types.ts';
import { endpointsOf, planOf } from './fixtures.ts';

const cells = buildCells(planOf(), endpointsOf());
const CLIENT = '192.168.13.104';
const [NODE, OTHER] = ['192.168.13.35', '192.168.13.36'];
const [POD, ELSEWHERE] = ['10.255.0.74', '10.255.0.138'];

function cellLike(id: string, more: Partial<Cell>): Cell {
  const cell = cells.find((each) => each.id === id);
  if (cell === undefined) throw new Error(`no cell ${id}`);
  return { ...cell, talk: 'none', ...more };
}
const tcp = cellLike('ubuntu>echo-np-tcp/k8sworker1:31234/tcp', {});
const udp = cellLike('ubuntu>echo-server-udp/k8sworker1:31678/udp', {});

function seen(cell: Cell, outcome: Observation['outcome'], more: Partial<Observation> = {}): Observation {
  const trace = { nonce: null, address: cell.address, localAddress: CLIENT, localPort: 40001 };
  return { outcome, server: null, client: null, attempts: 1, connectMs: 1, detail: null, trace, ...more };
}

/** Lines of `conntrack -L`: what the client sent, and what answers look like. */
function entry(protocol: string, [source, to, port]: From, [by, seenAs, seenPort]: From, target = 1234) {
  const number = protocol === 'tcp' ? 6 : 17;
  return `${protocol}      ${number} 118 TIME_WAIT src=${source} dst=${to} sport=40001 dport=${port} src=${by} dst=${seenAs} sport=${target} dport=${seenPort} [ASSURED] mark=0 use=1`;
}
type From = readonly [string, string, number];

function tracked(cell: Cell, observation: Observation, lines: Readonly<Record<string, string>>) {
  const flows = new Map(
    Object.entries(lines).map(([name, text]) => [name, { ok: true as const, value: parseFlows(text) }]),
  );
  const nodes = new Map([
    [POD, 'k8sworker1'],
    [ELSEWHERE, 'k8sworker2'],
  ]);
  return withTracked([cell], new Map([[cell.id, observation]]), flows, (ip) => nodes.get(ip)).get(cell.id);
}

describe('what nodes track', () => {
  it('tells backend and client of a connection that was translated once', () => {
    const lines = { k8sworker1: entry('tcp', [CLIENT, NODE, 31234], [POD, CLIENT, 40001]) };
    expect(tracked(tcp, seen(tcp, 'ok'), lines)).toMatchObject({ server: POD, client: CLIENT });
  });

  it('is followed over two translations, of two nodes', () => {
    const lines = {
      k8sworker1: entry('tcp', [CLIENT, NODE, 31234], [ELSEWHERE, NODE, 777]),
      k8sworker2: [
        entry('tcp', [NODE, ELSEWHERE, 1234], [ELSEWHERE, OTHER, 888]).replace('sport=40001', 'sport=777'),
        entry('tcp', [CLIENT, NODE, 31234], ['10.255.0.1', CLIENT, 40001]).replace('40001', '40002'),
      ].join('\n'),
    };
    expect(tracked(tcp, seen(tcp, 'ok'), lines)).toMatchObject({ server: ELSEWHERE, client: OTHER });
  });

  it('is what the newest entry says, where another node keeps that of an earlier connection from the same port', () => {
    const old = entry('tcp', [CLIENT, NODE, 31234], [ELSEWHERE, OTHER, 777]).replace(' 118 ', ' 93 ');
    const now = entry('tcp', [CLIENT, NODE, 31234], [POD, CLIENT, 40001]);
    for (const lines of [
      { k8sworker1: old, k8sworker2: now },
      { k8sworker1: now, k8sworker2: old },
    ])
      expect(tracked(tcp, seen(tcp, 'ok'), lines)).toMatchObject({ server: POD, client: CLIENT });
  });

  it('is not known where no machine has the connection', () => {
    const observed = tracked(tcp, seen(tcp, 'ok'), { k8sworker1: '' });
    expect(observed?.server).toBeNull();
    const [result] = judgeCells([tcp], new Map([[tcp.id, observed ?? seen(tcp, 'ok')]]));
    expect(result).toMatchObject({ verdict: 'harness', finding: { reason: 'not-tracked' } });
  });

  it('leaves what echo servers say as it is', () => {
    const echo = { ...tcp };
    delete (echo as { talk?: string }).talk;
    const lines = { k8sworker1: entry('tcp', [CLIENT, NODE, 31234], [ELSEWHERE, CLIENT, 40001]) };
    expect(tracked(echo, seen(echo, 'ok', { server: POD }), lines)).toMatchObject({ server: POD });
  });

  it('tells a datagram that came to its backend from one that did not', () => {
    const line = entry('udp', [CLIENT, NODE, 31678], [POD, CLIENT, 40001], 5678);
    expect(tracked(udp, seen(udp, 'timeout'), { k8sworker1: line })).toMatchObject({ server: POD });
    const away = line.replace(POD, ELSEWHERE);
    expect(tracked(udp, seen(udp, 'timeout'), { k8sworker1: away })?.server).toBeNull();
    // What the sender's own node tracks has not come anywhere.
    const sent = line.replace(POD, NODE);
    expect(tracked(udp, seen(udp, 'timeout'), { k8sworker3: sent })?.server).toBeNull();
  });
});

describe('judging what is no echo server', () => {
  const judge = (cell: Cell, observed: Observation) =>
    judgeCells([cell], new Map([[cell.id, observed]]))[0] ?? expect.fail('no result');
  const known = { server: POD, client: CLIENT };

  it('asks for the right backend and the right client', () => {
    expect(judge(tcp, seen(tcp, 'ok', known)).verdict).toBe('passed');
    expect(judge(tcp, seen(tcp, 'ok', { ...known, server: ELSEWHERE }))).toMatchObject({
      verdict: 'failed',
      finding: { reason: 'wrong-backend' },
    });
    expect(judge(tcp, seen(tcp, 'ok', { ...known, client: NODE }))).toMatchObject({
      verdict: 'failed',
      finding: { reason: 'wrong-source' },
    });
  });

  it('does not know whether an application that is silent works, but says that it got the datagram', () => {
    expect(judge(udp, seen(udp, 'timeout', known))).toMatchObject({
      verdict: 'skipped',
      finding: { reason: 'silent', server: POD },
    });
    expect(judge(udp, seen(udp, 'timeout', { ...known, server: ELSEWHERE })).verdict).toBe('failed');
    expect(judge(udp, seen(udp, 'timeout')).verdict).toBe('failed');
  });

  it('is told by the datagram that got through where none may', () => {
    const none = { outcome: 'timeout' as const, servers: [], clients: [] };
    const cell = { ...udp, expected: { ...udp.expected, ...none } };
    expect(judge(cell, seen(cell, 'timeout', known))).toMatchObject({
      verdict: 'failed',
      finding: { reason: 'received', pod: POD },
    });
  });

  it('takes any status of a web server, unless one is asked for', () => {
    const web: Cell = { ...tcp, talk: 'http' };
    const answer = seen(web, 'ok', { ...known, httpStatus: 503 });
    expect(judge(web, answer).verdict).toBe('passed');
    expect(judge({ ...web, httpStatus: 200 }, answer)).toMatchObject({
      verdict: 'failed',
      finding: { reason: 'wrong-status', status: 503, wanted: 200 },
    });
  });
});
