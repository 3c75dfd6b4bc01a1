import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { type FakeLab, fakeLab } from '../fakes/lab.ts';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
let lab: FakeLab;
const file = (name: string) => join(lab.cwd, '.lab', 'bgp-lab', name);
const run = (...argv: string[]) => lab.run('lab', argv);
const listed = async () => JSON.parse((await run('snapshot', 'list', '--json')).out).snapshots;

beforeEach(async () => {
  lab = fakeLab();
  await lab.run('labup', ['--yes']);
  lab.driver.calls.length = 0;
});

describe('labup', () => {
  it('keeps what it has made, once', async () => {
    expect(await listed()).toMatchObject([{ name: 'labup', complete: true, missing: [] }]);
    await lab.run('labup', ['--yes']);
    expect(lab.driver.calls).not.toContain('save labup');
  });

  it('keeps it again where a machine was made anew', async () => {
    lab.driver.kept = lab.driver.kept.filter(({ machine }) => machine !== 'k8sworker2');
    await lab.run('labup', ['--yes']);
    expect(lab.driver.calls.slice(-2)).toEqual(['remove labup', 'save labup']);
    expect(await listed()).toMatchObject([{ name: 'labup', complete: true }]);
  });

  it('takes none where machines would have to be stopped for it, and lab reset says so', async () => {
    await run('snapshot', 'remove', 'labup');
    lab.driver.cost = 'all machines are stopped for it';
    await lab.run('labup', ['--yes']);
    expect(lab.driver.kept).toEqual([]);
    const { code, err } = await run('reset');
    expect(code).toBe(2);
    expect(err).toContain('it takes none by itself here: all machines are stopped for it');
    expect(err).toMatch(/next: +npx lab snapshot save labup/);
  });

  it('finishes a restore that was killed, before any machine is started', async () => {
    lab.driver.snapshots = {
      ...snapshots(),
      putBack: async () => {
        throw new Error('killed');
      },
    };
    expect((await run('snapshot', 'restore', 'labup')).code).not.toBe(0);
    const seen: string[] = [];
    lab.driver.snapshots = { ...snapshots(), putBack: async (_, name) => void seen.push(name) };
    const ensure = lab.driver.ensureMachines;
    lab.driver.ensureMachines = (...to) => {
      seen.push('machines');
      return ensure(...to);
    };
    const { err } = await lab.run('labup', ['--yes']);
    expect(seen).toEqual(['labup', 'machines']);
    expect(err).toContain('a restore was ended in its middle');
    await lab.run('labup', ['--yes']);
    expect(seen).toEqual(['labup', 'machines', 'machines']);
  });
});

function snapshots() {
  const { snapshots: all } = lab.driver;
  if (all === undefined) throw new Error('no snapshots');
  return all;
}

describe('lab snapshot', () => {
  it('lists time, size and machines', async () => {
    await run('snapshot', 'save', 'mine');
    const { code, out } = await run('snapshot', 'list');
    expect(code).toBe(0);
    expect(out.split('\n').map((line) => line.split(/\s{2,}/))).toEqual([
      ['SNAPSHOT', 'TIME', 'SIZE', 'MACHINES'],
      ['labup', expect.stringMatching(TIME), '7.0 MiB', 'all 7'],
      ['mine', expect.stringMatching(TIME), '7.0 MiB', 'all 7'],
      [''],
    ]);
  });

  it('brings back disks and plan, and drops what a selftest had still to undo', async () => {
    await run('snapshot', 'save', 'mine');
    const plan = readFileSync(file('plan.json'), 'utf8');
    writeFileSync(file('plan.json'), plan.replace('"echo-server1"', '"other"'));
    writeFileSync(file('pending-undo.json'), '{}');
    writeFileSync(file('kubeconfig'), 'that of another cluster');
    const { code, err } = await run('snapshot', 'restore', 'mine');
    expect([code, lab.driver.calls]).toEqual([0, ['save mine', 'putBack mine', 'start']]);
    expect(err).toMatch(/back {2}lab "bgp-lab" is as it was in snapshot "mine"/);
    expect(readFileSync(file('plan.json'), 'utf8')).toBe(plan);
    expect(readFileSync(file('kubeconfig'), 'utf8')).toContain('192.168.13.30:6443');
    expect([existsSync(file('pending-undo.json')), existsSync(file('restoring.json'))]).toEqual([
      false,
      false,
    ]);
  });

  it('makes the pods again that nobody starts again: those that were applied as they were given, so that they can be applied', async () => {
    const made: [string, { metadata: object }[]][] = [];
    const { run: asked } = lab.local;
    lab.local.run = (argv, options) => {
      const verb = argv.findIndex((word) => ['delete', 'create', 'apply'].includes(word));
      if (verb > 0) made.push([argv.slice(verb).join(' '), JSON.parse(String(options?.input)).items]);
      return asked(argv, options);
    };
    await run('reset');
    const servers = ['echo-server1', 'echo-server2', 'echo-server3'];
    const named = (...names: string[]) => names.map((name) => ({ name, namespace: 'echo-server' }));
    expect(made.map(([line, items]) => [line, items.map(({ metadata }) => metadata)])).toEqual([
      [
        'delete --force --grace-period 0 --wait=false --ignore-not-found -f -',
        named(...servers, 'echo-client1').map((each) => expect.objectContaining(each)),
      ],
      ['apply --validate=false -f -', named(...servers)],
      ['create --validate=false -f -', named('echo-client1')],
    ]);
  });

  it('waits for what was Ready then, and not for what was not', async () => {
    const node = (name: string, ready: boolean) => ({
      kind: 'Node',
      metadata: { name },
      status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
    });
    let looks = 0;
    let ready = true;
    lab.reply = (line) => {
      if (!line.includes('get nodes,pods')) return undefined;
      looks++;
      return JSON.stringify({ items: [node('k8sworker1', ready || looks > 2), node('k8sworker2', false)] });
    };
    await run('snapshot', 'save', 'mine');
    [looks, ready] = [0, false];
    expect((await run('snapshot', 'restore', 'mine')).code).toBe(0);
    expect(looks).toBe(3);
  });

  it('starts the machines again, and waits for them, where saving has stopped them', async () => {
    lab.driver.snapshots = { ...snapshots(), stops: true };
    lab.driver.cost = 'all machines are stopped for it';
    const { code, err } = await run('snapshot', 'save', 'mine');
    expect([code, lab.driver.calls]).toEqual([0, ['save mine', 'start']]);
    expect(err).toContain('this takes a while: all machines are stopped for it');
    expect(err).toContain('5/5 Sessions and routes: ok');
  });

  it('refuses a name that is taken, and one that is none', async () => {
    const taken = await run('snapshot', 'save', 'labup');
    expect([taken.code, taken.err]).toEqual([
      2,
      expect.stringContaining('There is a snapshot "labup" already'),
    ]);
    for (const name of ['../plan', 'A', '', 'a/b', '-a'])
      expect((await run('snapshot', 'save', '--', name)).err).toContain('is no name for a snapshot');
    expect(lab.driver.calls).toEqual([]);
  });

  it('shows one that a kill left half made, never restores it, and removes it or makes it again', async () => {
    await run('snapshot', 'save', 'half');
    lab.driver.kept = lab.driver.kept.filter(
      ({ snapshot, machine }) => snapshot !== 'half' || machine !== 'bgp',
    );
    expect((await run('snapshot', 'list')).out).toContain('incomplete, without bgp');
    const { code, err } = await run('snapshot', 'restore', 'half');
    expect([code, err]).toEqual([
      2,
      expect.stringContaining('is incomplete (without bgp) and cannot be restored'),
    ]);
    expect(lab.driver.calls).toEqual(['save half']);
    expect((await run('snapshot', 'save', 'half')).code).toBe(0);
    expect(lab.driver.calls).toEqual(['save half', 'remove half', 'save half']);
    expect((await run('snapshot', 'remove', 'half')).code).toBe(0);
    expect((await listed()).map(({ name }: { name: string }) => name)).toEqual(['labup']);
  });

  it('is incomplete where the disks are there and the record is not', async () => {
    lab.driver.kept.push(...lab.driver.kept.map((each) => ({ ...each, snapshot: 'half' })));
    expect(await listed()).toContainEqual(
      expect.objectContaining({ name: 'half', complete: false, missing: [] }),
    );
    expect((await run('snapshot', 'restore', 'half')).err).toContain('is incomplete (half made)');
  });

  it('names the snapshots that there are where there is none of that name', async () => {
    for (const verb of ['restore', 'remove']) {
      const { code, err } = await run('snapshot', verb, 'nothing');
      expect([code, err]).toEqual([2, expect.stringContaining('it has: labup')]);
    }
  });

  it('is refused with the reason by a driver that does not hold the disks', async () => {
    delete (lab.driver as { snapshots?: unknown }).snapshots;
    for (const argv of [['snapshot', 'save', 'a'], ['snapshot', 'list'], ['reset']]) {
      const { code, err } = await run(...argv);
      expect([code, err]).toEqual([2, expect.stringContaining('driver has no snapshots')]);
    }
  });
});
