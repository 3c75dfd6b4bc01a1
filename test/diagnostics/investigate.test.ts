import { describe, expect, it } from 'vitest';
import { fileName, investigate } from '../../scripts/diagnostics/investigate.ts';
import { parseWatched, startWatch, type WatchJob } from '../../scripts/diagnostics/watch.ts';
import type { Executor } from '../../scripts/exec/executor.ts';
import { buildCells } from '../../scripts/matrix/cells.ts';
import { judgeCells } from '../../scripts/matrix/judge.ts';
import type { ProbeSource } from '../../scripts/matrix/probe-sources.ts';
import type { Cell, CellResult } from '../../scripts/matrix/types.ts';
import { HarnessError, Interrupted } from '../../scripts/shared/errors.ts';
import { endpointsOf, lineOf, planOf, rightly } from '../matrix/fixtures.ts';
import { sentenceOf, syn } from './sightings.ts';

const state = endpointsOf();
const cells = buildCells(planOf(), state);
const named = (id: string): Cell => {
  const cell = cells.find((each) => each.id === id);
  if (cell === undefined) throw new Error(`no cell ${id}`);
  return cell;
};
const red = named('ubuntu>echo-np-tcp/k8sworker1:31234/tcp');
const spread = named('k8sworker1>echo-ci-tcp/cluster-ip:1234/tcp');

function results(...failed: readonly Cell[]): readonly CellResult[] {
  return judgeCells(
    cells,
    new Map(
      cells.map((cell) => [
        cell.id,
        failed.includes(cell)
          ? rightly(cell, { outcome: 'timeout', server: null, client: null })
          : rightly(cell),
      ]),
    ),
  );
}

interface Told {
  readonly events: string[];
  readonly jobs: Map<string, WatchJob>;
}

/** A machine whose watch.py listens at once and saw what `packetsOf` makes of its job. */
function machine(name: string, told: Told, packetsOf: (job: WatchJob) => unknown[] = () => []): Executor {
  return {
    where: name,
    run: async (_argv, options = {}) => {
      const job = JSON.parse(String(options.input)) as WatchJob;
      told.jobs.set(name, job);
      await new Promise((resolve) => setImmediate(resolve));
      told.events.push(`${name} listens`);
      options.onLine?.('{"listening":true}');
      await new Promise((resolve) => setImmediate(resolve));
      const report = {
        lost: 0,
        own: [name],
        before: '',
        after: '',
        sets: '',
        conntrack: [],
        routes: {},
        bgp: {},
        problems: [],
      };
      const stdout = `{"listening":true}\n${JSON.stringify({ ...report, packets: packetsOf(job) })}\n`;
      return { exitCode: 0, stdout, stderr: '' };
    },
  };
}

/** A source where every watched attempt ends in some way. */
function probeSource(name: string, told: Told, change: (index: number) => object): ProbeSource {
  return {
    name,
    run: async (input, onLine) => {
      const job = JSON.parse(input) as { cells: { id: string; sourcePort: number }[] };
      told.events.push(`${name} probes ${job.cells.map(({ sourcePort }) => sourcePort).join()}`);
      for (const [index, { id }] of job.cells.entries()) {
        const cell = named(id.replace(/ #\d+$/, ''));
        onLine(lineOf(cell, { id, ...change(index) }));
      }
      onLine('{"done":true,"count":1}');
    },
  };
}

const TIMEOUT = { outcome: 'timeout', server: null, client: null, detail: 'no answer' };

async function run(
  given: readonly CellResult[],
  probeSources: readonly ProbeSource[],
  machines: readonly Executor[],
) {
  const saved = new Map<string, { evidence: unknown; attempts: unknown[] }>();
  const found = await investigate({
    state,
    results: given,
    probeSources: new Map(probeSources.map((each) => [each.name, each])),
    machines: new Map(machines.map((each) => [each.where, each])),
    save: async (name, content) => {
      saved.set(name, JSON.parse(content));
      return `/reports/evidence/${name}`;
    },
    random: () => 0,
  });
  return { found, saved, of: (cell: Cell) => found.find((each) => each.cell === cell) };
}

describe('investigate', () => {
  it('does nothing where nothing is red', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const given = results();
    const { found } = await run(given, [], [machine('ubuntu', told)]);
    expect(found).toBe(given);
    expect(told.events).toEqual([]);
  });

  it('tries again from fixed ports once everybody listens, and keeps what was seen', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const packets = ({ ports }: WatchJob) => [
      {
        ...syn(
          'eth0 out',
          `192.168.13.104:${Math.min(...ports.tcp.filter((port) => port >= 20000))} > 192.168.13.35:31234`,
        ),
      },
    ];
    const { of, saved } = await run(
      results(red),
      [probeSource('ubuntu', told, () => TIMEOUT)],
      [machine('ubuntu', told, packets), machine('k8sworker1', told)],
    );
    expect(told.events).toEqual(['ubuntu listens', 'k8sworker1 listens', 'ubuntu probes 20001,20002']);
    expect(told.jobs.get('k8sworker1')?.ports).toEqual({ tcp: [31234, 1234, 20001, 20002], udp: [] });
    expect(told.jobs.get('k8sworker1')?.lookups[0]).toEqual({
      id: '192.168.13.35',
      to: '192.168.13.35',
      from: '192.168.13.104',
      in: 'eth0',
      protocol: 'tcp',
      port: 31234,
      sourcePort: 20001,
    });
    expect(told.jobs.get('ubuntu')?.lookups[0]).not.toHaveProperty('from');
    const file = 'ubuntu_echo-np-tcp_k8sworker1_31234_tcp.json';
    expect(of(red)?.evidence).toMatchObject({
      difference: { reason: 'lost-on-link', at: 'ubuntu', interface: 'eth0', to: ['k8sworker1'] },
      file: `/reports/evidence/${file}`,
    });
    expect(saved.get(file)?.attempts).toHaveLength(2);
    expect(of(spread)?.evidence).toBeUndefined();
  });

  it('tries often enough where chance chooses the way, and looks at an attempt that failed', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const fails = (index: number) => (index === 7 ? TIMEOUT : {});
    const packets = () => [syn('eth0 out', '192.168.13.35:20008 > 10.255.0.138:1234')];
    const { of, saved } = await run(
      results(spread),
      [probeSource('k8sworker1', told, fails)],
      [machine('k8sworker1', told, packets)],
    );
    expect(sentenceOf(of(spread)?.evidence)).toBe(
      'The packet left k8sworker1 by eth0 for k8sworker2, where it never arrived.',
    );
    expect([...saved.values()][0]?.attempts).toHaveLength(12);
  });

  it('counts how many tries are lost where chance decides, though there is one backend', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const fails = (index: number) => (index % 3 === 0 ? {} : TIMEOUT);
    const given = results().map((result) =>
      result.cell === red
        ? {
            cell: { ...red, chance: 'chance decides between ok and timeout' },
            observed: null,
            verdict: 'failed' as const,
            finding: null,
          }
        : result,
    );
    const packets = () => [syn('eth0 out', '192.168.13.104:20002 > 192.168.13.35:31234')];
    const { found } = await run(
      given,
      [probeSource('ubuntu', told, fails)],
      [machine('ubuntu', told, packets)],
    );
    expect(sentenceOf(found.find(({ cell }) => cell.id === red.id)?.evidence)).toBe(
      '8 of 12 tries were not answered. One of them: The packet left ubuntu by eth0 for k8sworker1, where it never arrived.',
    );
  });

  it('does not take tries that all went the same way for an end of it', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const given = results(red).map((result) =>
      result.cell === red
        ? { ...result, cell: { ...red, chance: 'chance decides between ok and timeout' } }
        : result,
    );
    const { found } = await run(given, [probeSource('ubuntu', told, () => ({}))], [machine('ubuntu', told)]);
    expect(sentenceOf(found.find(({ cell }) => cell.id === red.id)?.evidence)).toMatch(
      /^All of 12 tries were answered: /,
    );
  });

  it('says so where nothing fails any more', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const { of } = await run(
      results(red),
      [probeSource('ubuntu', told, () => ({}))],
      [machine('ubuntu', told)],
    );
    expect(sentenceOf(of(red)?.evidence)).toBe(
      '2 more tries while everything was watched all ended as they have to.',
    );
  });

  it('looks at an attempt that ended as it had to, where a server got it all the same', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const negative = named('ubuntu>echo-np-tcp/k8smaster1:31234/tcp');
    const given = results().map((result) =>
      result.cell === negative
        ? { ...result, verdict: 'failed' as const, detail: 'a server got it' }
        : result,
    );
    const first = '192.168.13.104:20001 > 192.168.13.30:31234';
    const { of } = await run(
      given,
      [probeSource('ubuntu', told, () => TIMEOUT)],
      [
        machine('ubuntu', told, () => [syn('eth0 out', first)]),
        machine('k8smaster1', told, () => [
          syn('eth0 in ubuntu', first),
          syn('eth0 out', '192.168.13.104:20001 > 10.255.0.74:1234'),
        ]),
      ],
    );
    expect(sentenceOf(of(negative)?.evidence)).toContain(
      'but k8smaster1 sent it on to echo-server1 (10.255.0.74) by eth0.',
    );
  });

  it('says so where the connection cannot be made again', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const broken: ProbeSource = { name: 'ubuntu', run: () => Promise.reject(new HarnessError('ssh: lost')) };
    const { of } = await run(results(red), [broken], [machine('ubuntu', told)]);
    expect(sentenceOf(of(red)?.evidence)).toBe(
      'The connection could not be made again: the probe could not be run: ssh: lost.',
    );
  });

  it('names the name that did not resolve', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const name = named('pod/echo-client1>headless:1234/tcp');
    const given = results(name).map((result) =>
      result.cell === name && result.observed !== null
        ? { ...result, observed: { ...result.observed, outcome: 'dns-error' as const } }
        : result,
    );
    const { of } = await run(
      given,
      [
        probeSource('pod/echo-client1', told, () => ({
          ...TIMEOUT,
          outcome: 'dns-error',
          detail: 'no answer from 10.96.0.10',
        })),
      ],
      [machine('k8sworker1', told)],
    );
    expect(sentenceOf(of(name)?.evidence)).toBe(
      `pod/echo-client1 could not resolve ${name.address}: no answer from 10.96.0.10.`,
    );
  });

  it('looks into the first causes only, one cell each', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const from = [...new Set(cells.map((cell) => cell.from))];
    const all = cells.filter(({ expected }) => expected.outcome === 'ok');
    const { found, saved } = await run(
      results(...all),
      from.map((name) => probeSource(name, told, () => TIMEOUT)),
      [machine('ubuntu', told)],
    );
    expect(saved.size).toBe(5);
    expect(found.filter(({ evidence }) => evidence !== undefined)).toHaveLength(5);
    expect(told.jobs.size).toBe(1);
  });

  it('goes on without a machine that cannot be watched', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const dead: Executor = { where: 'k8sworker1', run: () => Promise.reject(new HarnessError('lost')) };
    const packets = () => [syn('eth0 out', '192.168.13.104:20001 > 192.168.13.35:31234')];
    const { of } = await run(
      results(red),
      [probeSource('ubuntu', told, () => TIMEOUT)],
      [machine('ubuntu', told, packets), dead],
    );
    expect(of(red)?.evidence?.hops.find(({ at }) => at === 'k8sworker1')?.detail).toContain(
      'not known: it could not be watched: lost',
    );
  });

  it('passes an interruption on', async () => {
    const told: Told = { events: [], jobs: new Map() };
    const stopped: Executor = { where: 'k8sworker1', run: () => Promise.reject(new Interrupted()) };
    await expect(run(results(red), [probeSource('ubuntu', told, () => TIMEOUT)], [stopped])).rejects.toThrow(
      Interrupted,
    );
  });

  it('keeps file names free of slashes', () => {
    expect(fileName('pod/a>b/1.2.3.4:80/tcp')).toBe('pod_a_b_1.2.3.4_80_tcp');
  });
});

describe('a watch', () => {
  it('has ended badly where it says what is no report', async () => {
    expect(() => parseWatched('{"listening":true}\n')).toThrow(HarnessError);
    const executor: Executor = {
      where: 'x',
      run: async () => ({ exitCode: 0, stdout: 'Traceback', stderr: '' }),
    };
    const job = {
      seconds: 1,
      most: 1,
      ports: { tcp: [], udp: [] },
      lookups: [],
      prefixes: [],
      rules: [],
      sets: [],
    };
    const watch = startWatch(executor, job);
    await watch.listening;
    expect((await watch.ended).problems[0]).toContain('did not say what it saw');
  });

  it('tells of packets that were missed', () => {
    const report = {
      packets: [],
      lost: 3,
      own: [],
      before: '',
      after: '',
      sets: '',
      conntrack: [],
      routes: {},
      bgp: {},
      problems: [],
    };
    expect(parseWatched(JSON.stringify(report)).problems).toEqual(['3 packets were missed']);
  });
});
