import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Handlers } from '../../scripts/cli/handlers.ts';
import { type BinName, program } from '../../scripts/cli/program.ts';
import { PENDING_FILE } from '../../scripts/selftest/pending.ts';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';
import { kubectlJson } from '../matrix/fixtures.ts';

let lab: FakeLab;

beforeEach(async () => {
  lab = fakeLab();
});

const inState = (...parts: string[]) => join(lab.cwd, '.lab/bgp-lab', ...parts);
const up = () => lab.run('labup', ['--yes']);

interface Report {
  readonly summary: { readonly planned: number; readonly [verdict: string]: number };
  readonly cells: readonly { readonly id: string }[];
}

describe('what is typed', () => {
  /** The handler that a command line calls, with its arguments. */
  async function parsed(name: BinName, ...argv: string[]): Promise<unknown[]> {
    const calls: unknown[][] = [];
    const handlers = new Proxy({} as Handlers, {
      get:
        (_, verb) =>
        async (...args: unknown[]) => {
          calls.push([verb, ...args]);
        },
    });
    await program(name, handlers, { writeErr: () => {} }).parseAsync(argv, { from: 'user' });
    return calls[0] ?? [];
  }

  it.each<[BinName, string[], unknown[]]>([
    ['labtest', ['--only', 'a', 'b*', '--json'], ['test', { json: true, only: ['a', 'b*'] }]],
    ['labtest', ['--fail-first'], ['test', { failFirst: true }]],
    ['labtest', ['--watch', '--for', '30'], ['test', { watch: true, for: 30 }]],
    ['labtest', ['--diff', 'o.json', '--html', 'r.html'], ['test', { diff: 'o.json', html: 'r.html' }]],
    ['labtest', ['selftest', '--json'], ['selftest', [], { json: true }]],
    ['labtest', ['selftest', 'drop-rule'], ['selftest', ['drop-rule'], {}]],
    ['lab', ['test', 'selftest'], ['selftest', [], {}]],
    ['lab', ['selftest', '-f', 'x.yaml'], ['selftest', [], { file: 'x.yaml' }]],
    ['lab', ['predict', '--only', 'ubuntu'], ['predict', { only: ['ubuntu'] }]],
    ['lab', ['predict', '--namespace', 'shop', 'b'], ['predict', { namespace: ['shop', 'b'] }]],
    ['lab', ['explain', 'a>b', '--json'], ['explain', 'a>b', { json: true }]],
    ['lab', ['explain', 'a>b', '--namespace', 'shop'], ['explain', 'a>b', { namespace: ['shop'] }]],
  ])('%s %j', async (name, argv, wanted) => {
    expect(await parsed(name, ...argv)).toEqual(wanted);
  });

  it.each<[BinName, string[]]>([
    ['labtest', ['--for', '0', '--watch']],
    ['labtest', ['--only']],
    ['labtest', ['nonsense']],
    ['lab', ['explain']],
  ])('%s %j is refused', async (name, argv) => {
    await expect(parsed(name, ...argv)).rejects.toThrow();
    expect((await lab.run(name, argv)).code).toBe(2);
  });

  it.each([
    [['--for', '5'], '--for needs --watch'],
    [['--watch', '--html', 'x'], 'cannot be combined with --html'],
    [['--watch', '--fail-first'], 'cannot be combined with --fail-first'],
  ])('%j makes no sense: exit 2', async (argv, text) => {
    const { code, err } = await lab.run('labtest', argv);
    expect([code, err]).toEqual([2, expect.stringContaining(text)]);
  });
});

describe('labtest --only', () => {
  it('plans those cells and no others', async () => {
    await up();
    const { out } = await lab.run('labtest', ['--only', 'ubuntu>echo-np-tcp', 'routed>*udp', '--json']);
    const { summary, cells } = JSON.parse(out) as Report;
    expect(summary.planned).toBe(cells.length);
    expect(cells.length).toBeGreaterThan(5);
    expect(cells.filter(({ id }) => !/^ubuntu>echo-np-tcp|^routed>.*udp$/.test(id))).toEqual([]);
  });

  it('names the nearest cells where there is none: exit 2', async () => {
    await up();
    const { code, err } = await lab.run('labtest', ['--only', 'ubuntu>echo-np-tpc/k8sworker1']);
    expect(code).toBe(2);
    expect(err).toMatch(/No cell is called[\s\S]+ubuntu>echo-np-tcp\/k8sworker1:31234\/tcp/);
  });
});

describe('labtest --diff', () => {
  it.each([
    ['a file that is not there', undefined],
    ['a file that is no report', '{"schemaVersion": 2}'],
  ])('refuses %s before anything is tried: exit 2', async (_, content) => {
    await up();
    if (content !== undefined) writeFileSync(join(lab.cwd, 'old.json'), content);
    lab.asked.length = 0;
    const { code } = await lab.run('labtest', ['--diff', 'old.json']);
    expect([code, lab.asked]).toEqual([2, []]);
  });

  it('shows what is different from an earlier report', async () => {
    await up();
    await lab.run('labtest', []);
    writeFileSync(join(lab.cwd, 'old.json'), readFileSync(inState('reports/last.json')));
    expect((await lab.run('labtest', ['--diff', 'old.json'])).out).toContain('No difference');
    const json = await lab.run('labtest', ['--diff', 'old.json', '--json', '--only', 'ubuntu']);
    expect(JSON.parse(json.out)).toMatchObject({ schemaVersion: 2 });
    expect(json.err).toMatch(/\d+ were not chosen this time/);
    expect(JSON.parse(readFileSync(inState('reports/last.json'), 'utf8'))).not.toHaveProperty('chosenFrom');
  });
});

describe('what a run leaves', () => {
  it('is last.json, a dated report and report.html, and the 20 newest of the dated ones', async () => {
    await up();
    for (let n = 10; n < 35; n++) writeFileSync(inState('reports', `2020-01-01T00-00-${n}.000Z.json`), '{}');
    const { out } = await lab.run('labtest', ['--json']);
    expect(JSON.parse(readFileSync(inState('reports/last.json'), 'utf8'))).toEqual(JSON.parse(out));
    expect(readFileSync(inState('reports/report.html'), 'utf8')).toContain('<!doctype html>');
    const dated = readdirSync(inState('reports')).filter((name) => name.startsWith('20'));
    expect(dated).toHaveLength(20);
    expect(dated).not.toContain('2020-01-01T00-00-10.000Z.json');
  });

  it('is also HTML, where it was asked for', async () => {
    await up();
    await lab.run('labtest', ['--html', 'out/r.html']);
    expect(readFileSync(join(lab.cwd, 'out/r.html'), 'utf8')).toContain('</html>');
  });

  it('is a JUnit file with every planned cell also where the test was aborted', async () => {
    await up();
    const controller = new AbortController();
    const { connect } = lab;
    lab.connect = async (target, timeoutMs) => {
      const machine = await connect(target, timeoutMs);
      return {
        ...machine,
        run: async (argv, options) => {
          if (argv.includes('/usr/local/lib/lab/probe/probe.py')) controller.abort();
          return machine.run(argv, options);
        },
      };
    };
    const { code } = await lab.run('labtest', ['--junit', 'junit.xml'], { signal: controller.signal });
    const junit = readFileSync(join(lab.cwd, 'junit.xml'), 'utf8');
    expect(code).toBe(130);
    expect(junit.match(/<testcase/g)?.length).toBeGreaterThan(90);
  });
});

describe('labtest --fail-first', () => {
  it('runs everything where there is no earlier run', async () => {
    await up();
    const { out } = await lab.run('labtest', ['--fail-first', '--json']);
    expect((JSON.parse(out) as Report).summary.planned).toBeGreaterThan(90);
  });

  it('tries what failed last time alone, and ends there if it still fails', async () => {
    await up();
    await lab.run('labtest', ['--only', 'ubuntu>echo-np-tcp']);
    const { out, code } = await lab.run('labtest', ['--fail-first', '--json']);
    const { cells } = JSON.parse(out) as Report;
    expect(cells.length).toBeGreaterThan(0);
    expect(cells.filter(({ id }) => !id.startsWith('ubuntu>echo-np-tcp'))).toEqual([]);
    expect(code).not.toBe(0);
    // Neither was a run of the whole matrix.
    expect(readdirSync(inState('reports')).filter((name) => /partial\.json$/.test(name))).toHaveLength(2);
    expect(readdirSync(inState('reports'))).not.toContain('last.json');
  });
});

describe('labtest --watch', () => {
  it('ends after its time, and is one document with --json', async () => {
    await up();
    const { code, out } = await lab.run('labtest', ['--watch', '--for', '1', '--json']);
    expect(JSON.parse(out)).toMatchObject({ schemaVersion: 1, rounds: [{ summary: { passed: 0 } }] });
    expect(code).toBe(4);
  });

  it('leaves the last run of the whole matrix alone where cells are chosen', async () => {
    await up();
    await lab.run('labtest', []);
    const before = readFileSync(inState('reports/last.json'), 'utf8');
    await lab.run('labtest', ['--watch', '--for', '1', '--only', 'ubuntu', '--json']);
    expect(readFileSync(inState('reports/last.json'), 'utf8')).toBe(before);
  });

  it('ends on Ctrl-C', async () => {
    await up();
    const controller = new AbortController();
    const running = lab.run('labtest', ['--watch'], { signal: controller.signal });
    setTimeout(() => controller.abort(), 1500);
    expect((await running).code).toBe(130);
  });
});

describe('lab predict and lab explain', () => {
  it('send no probe', async () => {
    await up();
    lab.asked.length = 0;
    const { code, out } = await lab.run('lab', ['predict', '--json']);
    const { cells } = JSON.parse(out) as { cells: { id: string; expected: { chain: unknown[] } }[] };
    expect([code, cells.length]).toEqual([0, expect.any(Number)]);
    expect(cells.length).toBeGreaterThan(90);
    expect(lab.asked.filter((each) => each.includes('probe'))).toEqual([]);
    expect((await lab.run('lab', ['predict', '--only', 'ubuntu'])).out).toMatch(/ubuntu>.+\n\n\d+ cells/);
  });

  it('know only the cells of the chosen namespaces', async () => {
    await up();
    const ofNone = ['--namespace', 'shop', '--json'];
    const { code, out } = await lab.run('lab', ['predict', ...ofNone]);
    const { cells } = JSON.parse(out) as { cells: readonly { to: string }[] };
    expect([code, cells.filter(({ to }) => to.startsWith('echo-np-tcp/'))]).toEqual([0, []]);
    const id = 'ubuntu>echo-np-tcp/k8sworker1:31234/tcp';
    expect((await lab.run('lab', ['explain', id, ...ofNone])).code).toBe(2);
    expect((await lab.run('lab', ['explain', id, '--namespace', 'echo-server'])).code).toBe(0);
  });

  it('tell what the last run saw', async () => {
    await up();
    const id = 'ubuntu>echo-np-tcp/k8sworker1:31234/tcp';
    expect((await lab.run('lab', ['explain', id])).out).toContain('last labtest: did not try it');
    await lab.run('labtest', ['--only', id]);
    const { code, out } = await lab.run('lab', ['explain', id]);
    expect([code, out]).toEqual([0, expect.stringContaining(id)]);
    expect(out).toMatch(/last labtest \(\d{4}-.+ UTC\): /);
    const json = JSON.parse((await lab.run('lab', ['explain', id, '--json'])).out) as {
      cells: { id: string; last: { result: { id: string } } }[];
    };
    expect(json.cells).toMatchObject([{ id, last: { result: { id } } }]);
  });

  it.each([
    ['no-such-cell', /No cell is called/],
    ['*', /names \d+ cells; at most/],
  ])('refuse %s: exit 2', async (cell, text) => {
    await up();
    const { code, err } = await lab.run('lab', ['explain', cell]);
    expect([code, err]).toEqual([2, expect.stringMatching(text)]);
  });
});

describe('a lab that cannot be tested', () => {
  const things = (change: (name: string) => string) => {
    lab.driver.things = lab.driver.things.flatMap((thing) => {
      const state = thing.kind === 'machine' ? change(thing.name) : thing.state;
      return state === 'absent' ? [] : [{ ...thing, state }];
    });
  };

  it('is down: exit 2, and nobody is waited for', async () => {
    await up();
    things(() => 'absent');
    const { code, err } = await lab.run('labtest', []);
    expect([code, err]).toEqual([2, expect.stringMatching(/is down[\s\S]+next: {2}npx labup --yes/)]);
  });

  it('is half up: exit 1, with what does not run', async () => {
    await up();
    things((name) => (name === 'k8sworker2' ? 'stopped' : 'running'));
    const { code, err } = await lab.run('labtest', []);
    expect([code, err]).toEqual([1, expect.stringMatching(/only half up[\s\S]+k8sworker2: stopped/)]);
  });

  it('has lost a node: exit 1', async () => {
    await up();
    lab.reply = (line) =>
      /get (nodes|services)/.test(line) ? withoutNode(kubectlJson(), 'k8sworker3') : undefined;
    const { code, err } = await lab.run('labtest', []);
    expect([code, err]).toEqual([1, expect.stringContaining('missing: k8sworker3')]);
  });

  it.each([
    ['has other nodes', () => kubectlJson().replaceAll('k8sworker3', 'otherworker'), /a node otherworker/],
    [
      'has nodes with other addresses',
      () => kubectlJson().replaceAll('192.168.13.36', '192.168.99.36'),
      /k8sworker2 has the address 192\.168\.99\.36, and not 192\.168\.13\.36/,
    ],
    [
      'has another CA',
      () => ({ exitCode: 1, stderr: 'Unable to connect: x509: certificate signed by unknown authority' }),
      /x509/,
    ],
  ])('has a kubeconfig whose cluster %s: exit 2', async (_, answer, text) => {
    await up();
    lab.reply = (line) => (/get (nodes|services)/.test(line) ? answer() : undefined);
    const { code, err } = await lab.run('labtest', []);
    expect([code, err]).toEqual([2, expect.stringContaining('The kubeconfig is not that of lab "bgp-lab"')]);
    expect(err).toMatch(text);
  });
});

function withoutNode(json: string, name: string): string {
  const list = JSON.parse(json) as { items: { kind: string; metadata: { name: string } }[] };
  const items = list.items.filter(({ kind, metadata }) => kind !== 'Node' || metadata.name !== name);
  return JSON.stringify({ ...list, items });
}

describe('labtest selftest', () => {
  it('breaks nothing where the lab is not right to begin with: exit 1', async () => {
    await up();
    const { code, err } = await lab.run('labtest', ['selftest']);
    expect([code, err]).toEqual([1, expect.stringContaining('The lab is not right to begin with')]);
    expect(lab.asked.filter((each) => each.includes('iptables -w'))).toEqual([]);
  });

  it.each(['labtest', 'labup'] as const)('that was killed is undone by the next %s', async (bin) => {
    await up();
    const revert = [{ on: 'k8sworker1', argv: ['undo', 'it'] }];
    writeFileSync(inState(PENDING_FILE), JSON.stringify({ by: 'selftest', title: 'a broken thing', revert }));
    const { err } = await lab.run(bin, bin === 'labup' ? ['--yes'] : []);
    expect(lab.asked).toContain('k8sworker1: undo it');
    expect(err).toContain('undoing "a broken thing"');
    expect(readdirSync(inState())).not.toContain(PENDING_FILE);
  });

  it('whose notes are damaged is no guesswork: exit 4', async () => {
    await up();
    writeFileSync(inState(PENDING_FILE), '{');
    const { code, err } = await lab.run('labtest', []);
    expect([code, err]).toEqual([
      4,
      expect.stringContaining('A selftest or scenario was ended in its middle'),
    ]);
  });
});
