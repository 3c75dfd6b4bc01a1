import { describe, expect, it } from 'vitest';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { PROBE_TIMEOUT_MS } from '../../scripts/matrix/probe-protocol.ts';
import { machineSource, type ProbeSource, podProbe } from '../../scripts/matrix/probe-sources.ts';
import { runCells } from '../../scripts/matrix/run.ts';
import type { DnsQuestion } from '../../scripts/matrix/types.ts';
import { HarnessError, Interrupted } from '../../scripts/shared/errors.ts';
import { endpointsOf, fakeProbeSource, lineOf, planOf } from './fixtures.ts';

const cells = buildCells(planOf(), endpointsOf()).filter(({ from }) => from === 'routed' || from === 'bgp');
const routed = cells.filter(({ from }) => from === 'routed');
const [first, second] = routed as [(typeof cells)[number], (typeof cells)[number]];
const bgp = fakeProbeSource('bgp', cells);

async function runRouted(probeSource: ProbeSource | undefined) {
  const probeSources = new Map([
    ['bgp', bgp],
    ...(probeSource === undefined ? [] : ([['routed', probeSource]] as const)),
  ]);
  const { cells: seen } = await runCells(cells, probeSources);
  expect(seen.size).toBe(cells.length);
  const ofBgp = cells.filter(({ from }) => from === 'bgp').map(({ id }) => seen.get(id)?.outcome);
  expect(ofBgp, 'another source is not touched').not.toContain('harness-error');
  return (id: string) => seen.get(id);
}

describe('runCells', () => {
  it('asks every source once, with all its cells, all at the same time', async () => {
    let running = 0;
    let most = 0;
    const slow = (name: string): ProbeSource & { inputs: string[] } => {
      const inner = fakeProbeSource(name, cells);
      return {
        ...inner,
        run: async (input, onLine) => {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setImmediate(resolve));
          await inner.run(input, onLine);
          running -= 1;
        },
      };
    };
    const probeSources = [slow('bgp'), slow('routed')];
    await runCells(cells, new Map(probeSources.map((each) => [each.name, each])));
    expect(most).toBe(2);
    expect(probeSources.map(({ inputs }) => inputs.length)).toEqual([1, 1]);
    const input = JSON.parse(probeSources[1]?.inputs[0] ?? '');
    expect(input.timeoutMs).toBe(PROBE_TIMEOUT_MS);
    expect(input.cells).toHaveLength(routed.length);
    expect(input.cells[0]).toEqual({
      id: first.id,
      protocol: first.protocol,
      host: first.address,
      port: first.port,
    });
  });

  it('tells of each result as it comes', async () => {
    const told: string[] = [];
    await runCells(routed, new Map([['routed', fakeProbeSource('routed', cells)]]), {
      onResult: (id) => told.push(id),
    });
    expect(told).toEqual(routed.map(({ id }) => id));
  });

  it('keeps the error number beside the text', async () => {
    const probeSource = fakeProbeSource('routed', cells, (cell) =>
      lineOf(cell, { outcome: 'refused', errno: 'ECONNREFUSED', detail: 'connect: Connection refused' }),
    );
    const seen = await runRouted(probeSource);
    expect(seen(first.id)?.detail).toBe('connect: Connection refused (ECONNREFUSED)');
  });

  it('refuses cells with the same id', async () => {
    await expect(runCells([...routed, first], new Map())).rejects.toThrow(HarnessError);
  });

  it('does nothing for no cells', async () => {
    expect((await runCells([], new Map())).cells.size).toBe(0);
  });

  it('passes an interruption on', async () => {
    const probeSource = { name: 'routed', run: () => Promise.reject(new Interrupted()) };
    await expect(runCells(routed, new Map([['routed', probeSource]]))).rejects.toThrow(Interrupted);
  });
});

describe('a harness that fails is a harness-error of its cells', () => {
  it('when there is no way to run the probe', async () => {
    const seen = await runRouted(undefined);
    expect(seen(first.id)).toMatchObject({ outcome: 'harness-error', attempts: 0 });
    expect(seen(first.id)?.detail).toBe('there is no way to run a probe on routed');
  });

  it('when the call fails, but not for cells that were answered before', async () => {
    const seen = await runRouted({
      name: 'routed',
      run: async (_, onLine) => {
        onLine(lineOf(first));
        throw new HarnessError('python3 failed on routed (exit code 255).', {
          details: ['command: python3', 'Connection closed'],
        });
      },
    });
    expect(seen(first.id)?.outcome).toBe('ok');
    expect(seen(second.id)?.outcome).toBe('harness-error');
    expect(seen(second.id)?.detail).toBe(
      'the probe could not be run: python3 failed on routed (exit code 255). Connection closed',
    );
  });

  it.each([
    ['no output at all', [], 'the probe ended before it said that it was done'],
    ['a missing cell', ['{"done":true,"count":1}'], 'the probe gave no result for it'],
    ['garbage', ['Traceback (most recent call last):'], 'what is no result: "Traceback'],
    ['an outcome that it does not know', ['{"id":"ID","outcome":"blocked"}'], 'what is no result'],
    ['a derived outcome', ['{"id":"ID","outcome":"wrong-backend"}'], 'what is no result'],
    ['half a line', ['{"id":"ID","outc'], 'what is no result'],
    ['an id that was not asked', ['{"id":"x","outcome":"ok"}'], 'was not asked about: x'],
    ['a refused input', ['{"error":"no such type"}'], 'the probe refused its input: no such type'],
  ])('when the probe prints %s', async (_, lines, detail) => {
    const seen = await runRouted({
      name: 'routed',
      run: async (_input, onLine) => {
        for (const line of lines) onLine(line.replace('ID', first.id));
      },
    });
    expect(seen(first.id)?.outcome).toBe('harness-error');
    expect(seen(first.id)?.detail).toContain(detail);
  });

  it('when the probe gives two results for one cell', async () => {
    const seen = await runRouted({
      name: 'routed',
      run: async (_, onLine) => {
        for (const cell of [...routed, first]) onLine(lineOf(cell));
      },
    });
    expect(seen(first.id)?.detail).toBe('the probe gave two results for it');
    expect(seen(second.id)?.outcome).toBe(second.expected.outcome);
  });
});

describe('DNS questions', () => {
  const dns: DnsQuestion[] = [
    { id: 'dns.a.x', from: 'routed', name: 'x', type: 'A' },
    { id: 'dns.a.y', from: 'routed', name: 'y', type: 'A' },
  ];
  it('go into the same call and come back with their answers', async () => {
    const inputs: string[] = [];
    const probeSource: ProbeSource = {
      name: 'routed',
      run: async (input, onLine) => {
        inputs.push(input);
        onLine('{"id":"dns.a.x","kind":"dns","outcome":"ok","answers":["10.0.0.1"],"detail":null}');
        onLine('{"done":true,"count":2}');
      },
    };
    const { dns: answers } = await runCells(routed, new Map([['routed', probeSource]]), { dns });
    expect(inputs).toHaveLength(1);
    expect(JSON.parse(inputs[0] ?? '').dns).toEqual(dns.map(({ id, name, type }) => ({ id, name, type })));
    expect(answers.get('dns.a.x')).toEqual({ outcome: 'ok', answers: ['10.0.0.1'], detail: null });
    expect(answers.get('dns.a.y')?.outcome).toBe('harness-error');
  });
});

describe('probeSources', () => {
  it('run the probe through an executor', async () => {
    const calls: unknown[] = [];
    const executor = {
      where: 'routed',
      run: async (
        argv: readonly string[],
        options?: { input?: string | Buffer; onLine?: (line: string) => void },
      ) => {
        calls.push([argv, options?.input]);
        options?.onLine?.('{"done":true,"count":0}');
        return { exitCode: 0, stdout: '', stderr: '' };
      },
    };
    const lines: string[] = [];
    await machineSource('routed', executor, ['python3', '/p.py']).run('{}', (line) => lines.push(line));
    expect(calls).toEqual([[['python3', '/p.py'], '{}']]);
    expect(lines).toEqual(['{"done":true,"count":0}']);
  });

  it('reach into a pod with kubectl', () => {
    expect(podProbe(['kubectl'], { namespace: 'n', name: 'p' }, ['probe'])).toEqual(
      'kubectl exec -i -n n p -- probe'.split(' '),
    );
  });
});
