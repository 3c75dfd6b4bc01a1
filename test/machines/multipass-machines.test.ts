import { beforeEach, describe, expect, it } from 'vitest';
import { LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { macOf } from '../../scripts/shared/labels.ts';
import { once, refused } from '../fakes/multipass.ts';
import {
  type Bench,
  bench,
  documents,
  failureOf,
  IMPATIENT,
  multipassPlan,
  NAMES,
  plan,
} from './multipass-fixtures.ts';

let b: Bench;
beforeEach(() => {
  b = bench();
});
/** Launched names; what goes on at the same time is in no order. */
const launches = () =>
  b.fake
    .lines('launch')
    .map((line) => line.split(' ')[2] ?? '')
    .sort();
const ALL = [...NAMES].sort();

describe('a lab from nothing', () => {
  it('is launched, one first and then two at a time', async () => {
    let now = 0;
    let most = 0;
    const begun: number[] = [];
    b.fake.hooks.push(async ([, verb]) => {
      if (verb !== 'launch') return undefined;
      now++;
      most = Math.max(most, now);
      begun.push(now);
      // The first one is alone; of the others each waits until two have been at it together.
      if (begun.length > 1) await expect.poll(() => most).toBe(2);
      now--;
      return undefined;
    });
    expect(await b.up()).toBe(true);
    expect(launches()).toEqual(ALL);
    expect(begun[0]).toBe(1);
    expect(most).toBe(2);
    expect([...b.fake.vms.values()].every(({ owner }) => owner === plan.lab)).toBe(true);
  });

  it('has sizes by role, and nothing of the user-data in an argv', async () => {
    await b.up(documents(plan.lab, 'chpasswd: hunter2\n'));
    expect(b.fake.lines('launch')[0]).toBe(
      'launch --name k8smaster1 --cpus 2 --memory 2G --disk 10G --timeout 1800 --cloud-init - 24.04',
    );
    expect(b.fake.local.lines().join('\n')).not.toMatch(/hunter2|hostname:/);
    expect(b.fake.local.calls.filter(({ options }) => options.input?.includes('hunter2'))).toHaveLength(7);
  });

  it('is not changed by a second run', async () => {
    await b.up();
    const calls = b.fake.lines().length;
    expect(await b.up()).toBe(false);
    expect(
      b.fake
        .lines()
        .slice(calls)
        .filter((line) => !/^(list|exec) /.test(line)),
    ).toEqual([]);
  });

  it('is continued where it was left, without warming what is warm', async () => {
    await b.up();
    b.fake.vms.delete('routed');
    expect(await b.up()).toBe(true);
    expect(launches()).toEqual([...ALL, 'routed'].sort());
  });

  it('gives a second NIC with a fixed MAC in mode bridge', async () => {
    await b.up(documents(), multipassPlan({ network: { mode: 'bridge', bridge: 'br0' } }));
    const line = b.fake.lines('launch').find((each) => each.includes(' bgp '));
    expect(line).toContain(`--network name=br0,mode=manual,mac=${macOf(plan.lab, 'bgp')} `);
    expect(new Set(NAMES.map((name) => macOf(plan.lab, name))).size).toBe(7);
  });

  it('stays in one zone from 1.17 on', async () => {
    b.fake.version = '1.17.0-dev.616.ci1549+gf42cf65a';
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', {
          state: 'Running',
          owner: plan.lab,
          address: '10.97.0.9',
          finished: true,
          errors: [],
          zone: 'zone3',
        });
        return 'Launched: k8smaster1 in zone3\n';
      }),
    );
    await b.up();
    const zones = b.fake.lines('launch').map((line) => / --zone (\S+) /.exec(line)?.[1]);
    expect(zones).toEqual([undefined, ...Array(6).fill('zone3')]);
  });
});

describe('what is there already', () => {
  it.each([
    ['Running', undefined, { owner: 'other-lab' }, /belongs to lab "other-lab"/],
    ['Running', undefined, {}, /has no \/etc\/lab\/owner/],
    ['Running', undefined, { noted: 'bgp-lab' }, /launched one of that name at 2026/],
    ['Stopped', undefined, {}, /cannot be asked/],
    ['Stopped', undefined, { noted: 'other-lab' }, /no note/],
    ['Deleted', undefined, {}, /cannot be asked/],
    ['Suspended', undefined, { owner: 'bgp-lab' }, /cannot be asked/],
  ])('and not ours (%s) is refused before anything is done: %j', async (state, _, change, why) => {
    await b.put('bgp', state, change);
    const failed = await failureOf(b.up());
    expect(failed).toBeInstanceOf(UserError);
    expect(failed.message).toContain('bgp');
    expect(failed.details.join()).toMatch(why);
    expect(b.fake.lines().filter((line) => !/^(list|exec) /.test(line))).toEqual([]);
  });

  it.each([
    ['Stopped', ['start bgp --timeout 300']],
    ['Suspended', ['start bgp --timeout 300']],
    ['Unknown', ['stop --force bgp', 'start bgp --timeout 300']],
  ])('and ours but %s is started', async (state, expected) => {
    b = bench(state === 'Unknown' ? IMPATIENT : {});
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = state;
    expect(await b.up()).toBe(true);
    expect(b.fake.lines().filter((line) => /^(start|stop|delete) /.test(line))).toEqual(expected);
  });

  it('and ours but deleted is purged by its name and launched again', async () => {
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = 'Deleted';
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('delete')).toEqual(['delete --purge bgp']);
    expect(launches()).toEqual([...ALL, 'bgp'].sort());
  });

  it('and ours on its way somewhere is waited for', async () => {
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = 'Suspending';
    let looks = 0;
    b.fake.hooks.push(([, verb]) => {
      if (verb === 'list' && ++looks === 3 && vm) vm.state = 'Suspended';
      return undefined;
    });
    expect(await b.up()).toBe(true);
    expect(vm?.state).toBe('Running');
  });

  /** Lets `bgp` be Unknown, as a machine is that boots, for so many looks; then it answers. */
  const bootsFor = (looks: number) => {
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = 'Unknown';
    let seen = 0;
    b.fake.hooks.push(([, verb]) => {
      if (verb === 'list' && ++seen === looks && vm) vm.state = 'Running';
      return undefined;
    });
  };
  const touching = () => b.fake.lines().filter((line) => /^(start|stop|delete|launch) /.test(line));

  it('and ours but still booting is waited for, and not touched', async () => {
    await b.up();
    const before = touching();
    bootsFor(30);
    expect(await b.up()).toBe(false);
    expect(touching()).toEqual(before);
    expect(b.events).toContainEqual({
      type: 'note',
      text: 'waiting for bgp to come to rest: it boots, and its SSH does not answer yet (state Unknown)',
    });
  });

  it('and ours but booting after a launch that has not come back is waited for as long as one may take', async () => {
    b = bench({ firstBoot: 1 });
    await b.up();
    const entry = (await b.registry.of(plan.lab)).get('bgp');
    if (entry === undefined) throw new Error('no note');
    await b.registry.write('bgp', { ...entry, launched: false, launchedAt: new Date().toISOString() });
    const before = touching();
    bootsFor(30);
    expect(await b.up()).toBe(false);
    expect(touching()).toEqual(before);
    expect((await b.registry.of(plan.lab)).get('bgp')?.launched).toBe(true);
  });

  it('and ours but Unknown for longer than a boot takes is powered off, which is said before', async () => {
    b = bench(IMPATIENT);
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = 'Unknown';
    b.fake.hooks.push(([, verb]) => {
      const said = b.events.some((event) => 'text' in event && event.text.startsWith('powering off bgp'));
      if (verb === 'stop') expect(said).toBe(true);
      return undefined;
    });
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('stop')).toEqual(['stop --force bgp']);
  });

  it('and ours, Unknown after a new start too, is to be launched anew', async () => {
    b = bench(IMPATIENT);
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = 'Unknown';
    b.fake.hooks.push(([, verb]) => {
      if (verb !== 'start' || vm === undefined) return undefined;
      vm.state = 'Unknown';
      return refused('start', 'timed out waiting for response');
    });
    const failed = await failureOf(b.up());
    expect(failed).toBeInstanceOf(LabFailure);
    expect([failed.message, ...failed.details].join()).toMatch(/The SSH of bgp does not answer/);
    expect(failed.next).toMatch(/^multipass delete --purge bgp; then npx labup --yes/);
    expect(b.fake.lines('start')).toHaveLength(1);
  });

  it('and ours, whose start a restart of the daemon cut off, is started once more', async () => {
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = 'Stopped';
    b.fake.hooks.push(once('start', refused('start', 'cannot connect to the multipass socket')));
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('start')).toHaveLength(2);
    expect(vm?.state).toBe('Running');
  });

  it.each([
    ['Unavailable', UserError, /zone/],
    ['Hibernating', LabFailure, /state "Hibernating"/],
  ])('and ours but %s is reported', async (state, type, message) => {
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = state;
    const failed = await failureOf(b.up());
    expect(failed).toBeInstanceOf(type);
    expect([failed.message, ...failed.details].join()).toMatch(message);
  });

  it('and ours, running without an answer, is reported by name', async () => {
    b = bench(IMPATIENT);
    await b.up();
    b.fake.hooks.push(([, verb, , name]) =>
      verb === 'exec' && name === 'bgp'
        ? refused('exec', "ssh connection failed: 'Failed to connect: No route to host'")
        : undefined,
    );
    const failed = await failureOf(b.up());
    expect(failed.details.join('\n')).toMatch(/bgp, which runs, to answer/);
    expect(failed.next).toContain('multipass stop --force bgp');
  });

  it('and says that it is ours is taken over with the registry gone', async () => {
    await b.up();
    for (const name of NAMES) await b.registry.forget(name);
    expect(await b.up()).toBe(false);
    expect([...(await b.registry.of(plan.lab)).keys()]).toEqual([...NAMES].sort());
  });

  it('and made from something else is refused', async () => {
    await b.up();
    const failed = await failureOf(b.up(documents(plan.lab, 'timezone: UTC\n')));
    expect(failed).toBeInstanceOf(UserError);
    expect(failed.next).toBe('npx labdown --yes && npx labup --yes');
  });

  it('is asked nothing that would start it', async () => {
    await b.put('bgp', 'Stopped', { noted: plan.lab, owner: plan.lab });
    b.fake.hooks.push(([, verb, , name]) => {
      if (verb === 'exec') expect(b.fake.vms.get(name ?? '')?.state).toBe('Running');
      return undefined;
    });
    await b.up();
  });
});
