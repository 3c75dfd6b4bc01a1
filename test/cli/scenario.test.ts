import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { SCENARIOS } from '../../scripts/scenarios/catalogue.ts';
import { PENDING_FILE } from '../../scripts/selftest/pending.ts';
import { type FakeLab, fakeLab, nodesJson } from '../fakes/lab.ts';

let lab: FakeLab;

beforeEach(() => {
  lab = fakeLab();
});

const inState = (...parts: string[]) => join(lab.cwd, '.lab/bgp-lab', ...parts);
const up = () => lab.run('labup', ['--yes']);
const deleted = () => lab.local.lines().filter((line) => line.includes(' delete namespace lab-'));

/** Nodes that have every image that a scenario needs; they are those of the fake lab. */
function withImages(line: string): string | undefined {
  if (!line.includes(' get nodes ')) return undefined;
  const names = SCENARIOS.flatMap(({ needs = [] }) =>
    needs.flatMap((need) => ('image' in need ? [need.image] : [])),
  );
  const { items } = JSON.parse(nodesJson()) as { items: readonly { status: object }[] };
  return JSON.stringify({
    items: items.map((node) => ({ ...node, status: { ...node.status, images: [{ names }] } })),
  });
}

describe('lab scenario list and show', () => {
  it('list has each of them, without a lab', async () => {
    const { code, out } = await lab.run('lab', ['scenario', 'list']);
    expect(code).toBe(0);
    for (const { name, title } of SCENARIOS)
      expect(out).toMatch(new RegExp(`${name} +.*${title.slice(0, 10)}`));
    const json = JSON.parse((await lab.run('lab', ['scenario', 'list', '--json'])).out) as {
      scenarios: unknown[];
    };
    expect(json.scenarios).toEqual(SCENARIOS.map(({ name, title, lesson }) => ({ name, title, lesson })));
  });

  it('show has each command and what must be seen, and types none', async () => {
    const { code, out } = await lab.run('lab', ['scenario', 'show', 'replicas']);
    expect([code, lab.asked, lab.local.lines()]).toEqual([0, [], []]);
    expect(out).toContain('npx lab kubectl -n lab-replicas scale deployment web --replicas=5');
    const { steps } = JSON.parse((await lab.run('lab', ['scenario', 'show', 'replicas', '--json'])).out) as {
      steps: { id: string; wanted: string[] }[];
    };
    expect(steps.find(({ id }) => id === 'scale-up')?.wanted).toContain('the pods with app=web: 5 Ready');
  });

  it.each([
    [['show', 'no-such'], 'no scenario called no-such'],
    [['run', 'replicas', 'no-such'], 'no scenario called no-such'],
    [['run'], 'Which scenario?'],
  ])('%j: exit 2, with the names that there are', async (argv, text) => {
    const { code, err } = await lab.run('lab', ['scenario', ...argv]);
    expect([code, err]).toEqual([2, expect.stringContaining(text)]);
    expect(err).toContain('kube-proxy: Anatomy');
  });
});

describe('lab scenario run', () => {
  it('runs nothing where the lab is down: exit 2', async () => {
    const { code, err } = await lab.run('lab', ['scenario', 'run', 'replicas']);
    expect([code, err]).toEqual([2, expect.stringMatching(/next: {2}npx labup/)]);
  });

  it('that runs nothing says why and what would help: exit 3', async () => {
    await up();
    const { code, out } = await lab.run('lab', [
      'scenario',
      'run',
      'replicas',
      '--json',
      '--junit',
      'junit.xml',
    ]);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({
      summary: { planned: 1, skipped: 1 },
      scenarios: [{ name: 'replicas', verdict: 'skipped', reason: expect.stringContaining('image') }],
    });
    expect(readFileSync(join(lab.cwd, 'junit.xml'), 'utf8')).toContain('skipped');
    expect(deleted()).toEqual([]);
  });

  it('that is interrupted undoes what it made: exit 130', async () => {
    await up();
    const controller = new AbortController();
    let noted: unknown;
    lab.reply = (line) => {
      if (line.includes(' get pods,services,endpointslices -n lab-')) return '{"items": []}';
      if (!/ apply .*replicas\/web\.yaml/.test(line)) return withImages(line);
      noted = JSON.parse(readFileSync(inState(PENDING_FILE), 'utf8'));
      controller.abort();
      return '';
    };
    const { code } = await lab.run('lab', ['scenario', 'run', 'replicas'], { signal: controller.signal });
    expect(code).toBe(130);
    // What is to be undone was written down before anything was changed.
    expect(noted).toMatchObject({ by: 'scenario', title: expect.stringContaining('replicas') });
    expect(deleted()).toEqual([expect.stringContaining('delete namespace lab-replicas --ignore-not-found')]);
    expect(readdirSync(inState())).not.toContain(PENDING_FILE);
  });

  it.each(['labtest', 'labup'] as const)('that was killed is undone by the next %s', async (bin) => {
    await up();
    const revert = [{ on: 'kubectl', argv: ['delete', 'namespace', 'lab-x'] }];
    writeFileSync(inState(PENDING_FILE), JSON.stringify({ by: 'scenario', title: 'scenario x', revert }));
    const { err } = await lab.run(bin, bin === 'labup' ? ['--yes'] : []);
    expect(deleted()).toEqual([expect.stringContaining('delete namespace lab-x')]);
    expect(err).toContain('scenario x');
    expect(readdirSync(inState())).not.toContain(PENDING_FILE);
  });
});
