import { beforeEach, describe, expect, it } from 'vitest';
import { LabFailure } from '../../scripts/shared/errors.ts';
import { once, refused } from '../fakes/multipass.ts';
import { type Bench, bench, failureOf, IMPATIENT, NAMES, plan } from './multipass-fixtures.ts';

let b: Bench;
beforeEach(() => {
  b = bench();
});
const down = refused('list', 'cannot connect to the multipass socket');

describe('removal', () => {
  const remove = () => b.driver.remove(plan.lab, (event) => b.events.push(event));

  it('takes all of ours, in any state, by their names and in one call', async () => {
    await b.up();
    for (const [name, state] of [
      ['bgp', 'Stopped'],
      ['routed', 'Deleted'],
      ['ubuntu', 'Unknown'],
    ] as const) {
      const vm = b.fake.vms.get(name);
      if (vm) vm.state = state;
    }
    await b.put('mine', 'Deleted');
    await b.put('theirs', 'Running', { owner: 'other-lab', noted: 'other-lab' });
    await remove();
    expect([...b.fake.vms.keys()]).toEqual(['mine', 'theirs']);
    expect(b.fake.lines('delete').map((line) => line.split(' ').slice(2).sort())).toEqual([
      [...NAMES].sort(),
    ]);
    expect(b.fake.lines('purge')).toEqual([]);
    expect([...(await b.registry.all()).keys()]).toEqual(['theirs']);
    expect(await b.driver.observe(plan.lab)).toEqual([]);
  });

  it('finds those that run and say that they are ours, with the registry gone', async () => {
    await b.put('bgp', 'Running', { owner: plan.lab });
    await b.put('mine', 'Running');
    await b.put('off', 'Stopped', { owner: plan.lab });
    await remove();
    expect([...b.fake.vms.keys()]).toEqual(['mine', 'off']);
    expect(b.fake.lines('start')).toEqual([]);
  });

  it('leaves alone what has our name and is not ours any more, and says so', async () => {
    await b.put('bgp', 'Running', { noted: plan.lab });
    await b.put('routed', 'Running', { noted: plan.lab, owner: 'other-lab' });
    await remove();
    expect([...b.fake.vms.keys()]).toEqual(['bgp', 'routed']);
    expect(b.fake.lines('delete')).toEqual([]);
    const warnings = b.events.filter(({ type }) => type === 'warning').map((event) => JSON.stringify(event));
    expect(warnings).toEqual([
      expect.stringContaining('bgp is not'),
      expect.stringContaining('routed is not'),
    ]);
    expect((await b.registry.all()).size).toBe(0);
  });

  it('takes one that runs and cannot be asked, where it was noted', async () => {
    await b.put('bgp', 'Running', { noted: plan.lab });
    b.fake.hooks.push(([, verb]) =>
      verb === 'exec' ? refused('exec', 'ssh connection failed: x') : undefined,
    );
    await remove();
    expect(b.fake.vms.size).toBe(0);
  });

  it('goes on where one vanished meanwhile', async () => {
    await b.put('bgp', 'Stopped', { noted: plan.lab });
    await b.put('routed', 'Stopped', { noted: plan.lab });
    b.fake.hooks.push(
      once('delete', () => {
        b.fake.vms.delete('bgp');
        return undefined;
      }),
    );
    await remove();
    expect(b.fake.lines('delete')).toEqual(['delete --purge bgp routed', 'delete --purge routed']);
    expect(b.fake.vms.size).toBe(0);
  });

  it.each([
    [
      'refuses',
      refused('delete', 'Cannot shut down instance bgp while starting.\nUse --force to power it off.'),
    ],
    ['takes too long', { exitCode: 5 }],
  ])('powers off what is starting where the daemon %s', async (_, reply) => {
    await b.put('bgp', 'Starting', { noted: plan.lab });
    b.fake.hooks.push(once('delete', reply));
    await remove();
    expect(b.fake.lines('stop')).toEqual(['stop --force bgp']);
    expect(b.fake.vms.size).toBe(0);
  });

  it('names what it could not remove, and keeps the note', async () => {
    await b.put('bgp', 'Stopped', { noted: plan.lab });
    b.fake.hooks.push(([, verb]) => (verb === 'delete' ? refused('delete', 'something new') : undefined));
    const failed = await failureOf(remove());
    expect(failed).toBeInstanceOf(LabFailure);
    expect([failed.message, failed.next]).toEqual([
      'Not removed: bgp.',
      'multipass stop --force bgp; npx labdown --yes',
    ]);
    expect((await b.registry.of(plan.lab)).has('bgp')).toBe(true);
  });

  it('waits for a launch that was interrupted, and tells of one that may still come', async () => {
    b = bench({ lateLaunch: 200 });
    const launch = { lab: plan.lab, launched: false, launchedAt: new Date().toISOString() };
    await b.registry.write('bgp', launch);
    await b.registry.write('routed', launch);
    let looks = 0;
    b.fake.hooks.push(([, verb]) => {
      if (verb === 'list' && ++looks === 3)
        b.fake.vms.set('bgp', { state: 'Unknown', address: 'N/A', finished: false, errors: [] });
      return undefined;
    });
    await remove();
    expect(b.fake.vms.size).toBe(0);
    expect([...(await b.registry.of(plan.lab)).keys()]).toEqual(['routed']);
    expect(await b.driver.observe(plan.lab)).toEqual([
      { kind: 'machine', name: 'routed', state: 'a launch that Multipass may still be at' },
    ]);
  });

  it('forgets a launch that has not come in all the time that one may take', async () => {
    const launchedAt = new Date(Date.now() - 60_000).toISOString();
    await b.registry.write('routed', { lab: plan.lab, launched: false, launchedAt });
    expect(await b.driver.observe(plan.lab)).toEqual([]);
    await remove();
    expect((await b.registry.all()).size).toBe(0);
  });

  it('of nothing needs no Multipass, and no daemon', async () => {
    b.fake.daemon = false;
    await remove();
    b.fake.hooks.push(() => ({ exitCode: 127 }));
    await remove();
  });

  it('of something needs a daemon', async () => {
    b = bench(IMPATIENT);
    await b.put('bgp', 'Running', { noted: plan.lab });
    b.fake.daemon = false;
    b.fake.hooks.push(([, verb]) => (verb === 'list' ? down : undefined));
    expect((await failureOf(remove())).exitCode).toBe(2);
    expect((await b.registry.of(plan.lab)).has('bgp')).toBe(true);
  });
});
