import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { OUTCOMES } from '../../scripts/matrix/findings.ts';
import { cellsToRetry, judgeCells } from '../../scripts/matrix/judge.ts';
import type { ProbeSource } from '../../scripts/matrix/probe-sources.ts';
import { withControls } from '../../scripts/matrix/proof-control.ts';
import { notObserved } from '../../scripts/matrix/run.ts';
import { testCells } from '../../scripts/matrix/test-cells.ts';
import type { Cell, Observation } from '../../scripts/matrix/types.ts';
import { endpointsOf, fakeProbeSource, lineOf, planOf, rightly } from './fixtures.ts';

const cells = buildCells(planOf(), endpointsOf());
const ubuntu = cells.filter(({ from }) => from === 'ubuntu');

function named(id: string): Cell {
  const cell = cells.find((each) => each.id === id);
  if (cell === undefined) throw new Error(`no cell ${id}`);
  return cell;
}

const positive = named('ubuntu>echo-np-tcp/k8sworker1:31234/tcp');
const negative = named('ubuntu>echo-np-tcp/k8smaster1:31234/tcp');

function judge(cell: Cell, seen: Partial<Observation>, others: readonly Cell[] = []) {
  const observed = new Map([
    ...others.map((each) => [each.id, rightly(each)] as const),
    [cell.id, rightly(cell, seen)],
  ]);
  const result = judgeCells([...others, cell], observed).at(-1);
  if (result === undefined) throw new Error('no result');
  return result;
}

describe('judgeCells', () => {
  it('passes what is as expected', () => {
    expect(judge(positive, {})).toMatchObject({ verdict: 'passed', finding: null });
    expect(judge(negative, {}, [positive])).toMatchObject({ verdict: 'passed', finding: null });
  });

  it('derives wrong-backend from a server that may not answer', () => {
    const result = judge(positive, { server: '10.255.0.202' });
    expect(result).toMatchObject({ verdict: 'failed', observed: { outcome: 'wrong-backend' } });
    expect(result.finding).toEqual({
      reason: 'wrong-backend',
      server: '10.255.0.202',
      wanted: ['10.255.0.74'],
    });
  });

  it('derives wrong-source from a client address that may not be seen', () => {
    const result = judge(positive, { client: '192.168.13.35' });
    expect(result).toMatchObject({ verdict: 'failed', observed: { outcome: 'wrong-source' } });
    expect(result.finding).toEqual({
      reason: 'wrong-source',
      client: '192.168.13.35',
      wanted: ['192.168.13.104'],
    });
  });

  it('does not take an answer without addresses for a success', () => {
    expect(judge(positive, { server: null }).verdict).toBe('failed');
    expect(judge(positive, { client: null }).verdict).toBe('failed');
  });

  it.each(['timeout', 'host-unreachable', 'ok'] as const)(
    'fails another outcome than the expected: %s',
    (outcome) => {
      const expected = named('ubuntu>echo-lb-tcp/2.2.2.2:1234/tcp');
      expect(judge(expected, { outcome }, [positive]).verdict).toBe('failed');
    },
  );

  it('says who answered where nobody should', () => {
    const result = judge(negative, { outcome: 'ok', server: '10.255.0.74', client: '192.168.13.30' }, [
      positive,
    ]);
    expect(result.finding).toEqual({
      reason: 'got-through',
      server: '10.255.0.74',
      client: '192.168.13.30',
    });
  });

  it('needs a success from the same source to believe a failure', () => {
    const alone = judge(negative, {}, [named('routed>echo-np-tcp/k8sworker1:31234/tcp')]);
    expect(alone.verdict).toBe('harness');
    expect(alone.finding).toEqual({ reason: 'no-control', from: 'ubuntu' });
  });

  it('blocks a failure by what blocks every success from there', () => {
    const blocked = { ...positive, blockedBy: 'bgp.session.bgp-k8sworker1' };
    const result = judgeCells([blocked, negative], new Map([[negative.id, rightly(negative)]]))[1];
    expect(result).toMatchObject({
      verdict: 'blocked',
      finding: { reason: 'source-blocked', from: 'ubuntu', by: 'bgp.session.bgp-k8sworker1' },
    });
  });

  it('reports a cell without any observation as harness', () => {
    const [result] = judgeCells([positive], new Map());
    expect(result).toMatchObject({ verdict: 'harness', observed: { outcome: 'harness-error' } });
  });

  it('does not judge blocked cells', () => {
    const [result] = judgeCells([{ ...positive, blockedBy: 'workloads.client-pod' }], new Map());
    expect(result).toMatchObject({ verdict: 'blocked', observed: null });
    expect(result?.finding).toEqual({ reason: 'blocked', by: 'workloads.client-pod' });
  });
});

describe('a cell that is skipped', () => {
  const skipped: Cell = { ...positive, skipped: 'kube-proxy in ipvs mode is not modelled.' };

  it('is not judged, and says why', () => {
    expect(judgeCells([skipped], new Map())).toEqual([
      {
        cell: skipped,
        observed: null,
        verdict: 'skipped',
        finding: { reason: 'not-modelled', what: skipped.skipped },
      },
    ]);
  });

  it('is not probed', async () => {
    const all = [skipped, named('ubuntu>echo-np-tcp/k8sworker2:31234/tcp')];
    const probeSource = fakeProbeSource('ubuntu', all);
    const { results } = await testCells(all, new Map([['ubuntu', probeSource]]));
    expect(JSON.parse(probeSource.inputs[0] ?? '').cells).toHaveLength(1);
    expect(results.map(({ verdict }) => verdict)).toEqual(['skipped', 'passed']);
  });
});

describe('a cell that chance decides', () => {
  const chance: Cell = { ...positive, chance: 'chance decides between ok and timeout' };

  it('is wrong, and not probed', async () => {
    const all = [chance, named('ubuntu>echo-np-tcp/k8sworker2:31234/tcp')];
    const probeSource = fakeProbeSource('ubuntu', all);
    const { results } = await testCells(all, new Map([['ubuntu', probeSource]]));
    expect(JSON.parse(probeSource.inputs[0] ?? '').cells).toHaveLength(1);
    expect(results[0]).toEqual({
      cell: chance,
      observed: null,
      verdict: 'failed',
      finding: { reason: 'chance', what: 'chance decides between ok and timeout' },
    });
  });

  it('is no control for those that must fail', () => {
    const [result] = judgeCells([negative, chance], new Map([[negative.id, rightly(negative)]]));
    expect(result?.verdict).toBe('harness');
    const other = named('ubuntu>echo-np-tcp/k8sworker2:31234/tcp');
    expect(withControls([negative, chance, other], [negative]).map(({ id }) => id)).toEqual([
      negative.id,
      other.id,
    ]);
  });
});

describe('a harness error', () => {
  it.each(OUTCOMES)('is never taken for the expected outcome %s, nor for blocked', (outcome) => {
    const cell: Cell = { ...negative, expected: { ...negative.expected, outcome } };
    const observed = new Map([
      [positive.id, rightly(positive)],
      [cell.id, notObserved('ssh: connection lost')],
    ]);
    const result = judgeCells([positive, cell], observed)[1];
    expect(result).toMatchObject({
      verdict: 'harness',
      finding: { reason: 'probe-failed', said: 'ssh: connection lost' },
    });
  });

  it('is no reason to try again', () => {
    expect(cellsToRetry([positive], new Map([[positive.id, notObserved('x')]]))).toEqual([]);
  });
});

describe('testCells', () => {
  it('makes one call per source when nothing fails', async () => {
    const probeSource = fakeProbeSource('ubuntu', ubuntu);
    const { results } = await testCells(ubuntu, new Map([['ubuntu', probeSource]]));
    expect(new Set(results.map(({ verdict }) => verdict))).toEqual(new Set(['passed']));
    expect(results.map(({ cell }) => cell.id)).toEqual(ubuntu.map(({ id }) => id));
    expect(probeSource.inputs).toHaveLength(1);
  });

  it('tries a failed cell once more, by itself, and calls it flaky if that is right', async () => {
    const probeSource = fakeProbeSource('ubuntu', ubuntu, (cell, call) =>
      lineOf(cell, cell === positive && call === 1 ? { outcome: 'timeout', server: null, client: null } : {}),
    );
    const { results } = await testCells(ubuntu, new Map([['ubuntu', probeSource]]));
    expect(JSON.parse(probeSource.inputs[1] ?? '').cells.map(({ id }: Cell) => id)).toEqual([positive.id]);
    const result = results.find(({ cell }) => cell === positive);
    expect(result).toMatchObject({ verdict: 'flaky', observed: { outcome: 'ok', attempts: 2 } });
    expect(result?.finding).toMatchObject({ reason: 'second-try', outcome: 'timeout' });
  });

  it('keeps a cell failed that fails twice, with both attempts', async () => {
    const probeSource = fakeProbeSource('ubuntu', ubuntu, (cell) =>
      lineOf(cell, cell === positive ? { outcome: 'timeout', server: null, client: null } : {}),
    );
    const { results } = await testCells(ubuntu, new Map([['ubuntu', probeSource]]));
    const result = results.find(({ cell }) => cell === positive);
    expect(result).toMatchObject({ verdict: 'failed', observed: { outcome: 'timeout', attempts: 2 } });
    expect(probeSource.inputs).toHaveLength(2);
  });

  it('keeps a cell failed whose second try broke', async () => {
    const probeSource = fakeProbeSource('ubuntu', ubuntu, (cell, call) =>
      call === 1 ? lineOf(cell, cell === positive ? { outcome: 'refused' } : {}) : undefined,
    );
    const { results } = await testCells(ubuntu, new Map([['ubuntu', probeSource]]));
    expect(results.find(({ cell }) => cell === positive)?.verdict).toBe('failed');
  });

  it('asks once more what no name server answered', async () => {
    const question = { id: 'dns.a.x', from: 'ubuntu', name: 'x', type: 'A' } as const;
    const said = { kind: 'dns', rcode: null, name: 'x', ttl: null, server: null, rttMs: 1 };
    const asked: unknown[] = [];
    const probeSource: ProbeSource = {
      name: 'ubuntu',
      run: async (input, onLine) => {
        const outcome = asked.push(JSON.parse(input).dns) === 1 ? 'dns-error' : 'ok';
        onLine(JSON.stringify({ ...said, id: question.id, outcome, answers: ['10.0.0.1'], detail: null }));
        onLine('{"done":true,"count":1}');
      },
    };
    const { dns } = await testCells([], new Map([['ubuntu', probeSource]]), { dns: [question] });
    expect(dns.get(question.id)).toMatchObject({ outcome: 'ok', answers: ['10.0.0.1'] });
    expect(asked).toHaveLength(2);
  });

  it('does not probe blocked cells', async () => {
    const blocked = ubuntu.map((cell) => ({ ...cell, blockedBy: 'x' }));
    const { results } = await testCells(blocked, new Map());
    expect(results.every(({ verdict, observed }) => verdict === 'blocked' && observed === null)).toBe(true);
  });

  it('believes no failure from a source where everything times out', async () => {
    const probeSource = fakeProbeSource('ubuntu', ubuntu, (cell) =>
      lineOf(cell, { outcome: 'timeout', server: null }),
    );
    const { results } = await testCells(ubuntu, new Map([['ubuntu', probeSource]]));
    expect(results.find(({ cell }) => cell === positive)?.verdict).toBe('failed');
    expect(results.find(({ cell }) => cell === negative)?.verdict).toBe('harness');
  });
});
