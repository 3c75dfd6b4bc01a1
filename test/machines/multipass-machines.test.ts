import { beforeEach, describe, expect, it } from 'vitest';
import { LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { macOf } from '../../scripts/shared/mac.ts';
import { once, refused } from '../fakes/multipass.ts';
import { type Bench, bench, documents, multipassPlan, NAMES, plan } from './multipass-fixtures.ts';

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
const error = (work: Promise<unknown>): Promise<LabFailure> =>
  work.then(
    () => {
      throw new Error('it did not fail');
    },
    (reason: LabFailure) => reason,
  );

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

describe('a launch that goes wrong', () => {
  it('stops the rest, waits for those under way and names all', async () => {
    b.fake.hooks.push(once('launch', refused('launch', 'something new'), 'k8sworker2'));
    const failed = await error(b.up());
    expect(failed).toBeInstanceOf(LabFailure);
    expect(failed.message).toBe('Not made: k8sworker2.');
    expect(failed.details.join('\n')).toMatch(/something new/);
    expect(failed.details.join('\n')).toMatch(/not begun after that: .*ubuntu/);
    expect((await b.registry.of(plan.lab)).has('k8sworker2')).toBe(false);
    // And labup again goes on.
    expect(await b.up()).toBe(true);
    expect(b.fake.vms.size).toBe(7);
  });

  it('is the user’s where the host is to blame, and nothing else is tried', async () => {
    b.fake.hooks.push(once('launch', refused('launch', 'KVM support is not enabled on this machine.')));
    const failed = await error(b.up());
    expect(failed).toBeInstanceOf(UserError);
    expect(failed.message).toMatch(/KVM is missing/);
    expect(launches()).toEqual(['k8smaster1']);
    expect((await b.registry.all()).size).toBe(0);
  });

  const slow = { exitCode: 5, stderr: 'Timed out waiting for instance launch.\n' };

  it('is gone on with where the machine runs by then', async () => {
    let looks = 0;
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', {
          state: 'Running',
          owner: plan.lab,
          address: '10.97.0.9',
          finished: false,
          errors: [],
        });
        return slow;
      }),
      ([, verb, , name]) => {
        const vm = b.fake.vms.get('k8smaster1');
        if (verb === 'exec' && name === 'k8smaster1' && ++looks === 3 && vm) vm.finished = true;
        return undefined;
      },
    );
    expect(await b.up()).toBe(true);
    expect(launches()).toEqual(ALL);
    expect(b.fake.lines('delete')).toEqual([]);
    expect(looks).toBeGreaterThan(2);
  });

  it.each(['Unknown', 'Starting'])('is repeated once where the machine is %s', async (state) => {
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', { state, address: 'N/A', finished: false, errors: [] });
        return refused(
          'launch',
          'The following errors occurred:\nk8smaster1: timed out waiting for response',
        );
      }),
    );
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('delete')).toEqual(['delete --purge k8smaster1']);
    expect(launches()).toEqual(['k8smaster1', ...ALL].sort());
  });

  it('is given up after the second time, and the machine is left to be looked at', async () => {
    b.fake.hooks.push(([, verb]) => {
      if (verb !== 'launch') return undefined;
      b.fake.vms.set('k8smaster1', { state: 'Unknown', address: 'N/A', finished: false, errors: [] });
      return slow;
    });
    const failed = await error(b.up());
    expect(failed.message).toBe('Not made: k8smaster1.');
    expect(failed.details.join('\n')).toMatch(/launched twice[\s\S]*its state: unknown/);
    expect(launches()).toHaveLength(2);
    expect(b.fake.vms.has('k8smaster1')).toBe(true);
    expect((await b.registry.of(plan.lab)).has('k8smaster1')).toBe(true);
  });

  it('is asked for again while the daemon does not know its image servers', async () => {
    const unknown = refused('launch', 'Remote "" is unknown or unreachable.');
    b.fake.hooks.push(once('launch', unknown), once('launch', unknown));
    expect(await b.up()).toBe(true);
    expect(launches()).toHaveLength(9);
  });

  it('is reported with its cure where the image servers stay unknown', async () => {
    b.fake.hooks.push(([, verb]) =>
      verb === 'launch' ? refused('launch', 'Remote "" is unknown or unreachable.') : undefined,
    );
    const failed = await error(b.up());
    expect([failed.exitCode, failed.next]).toEqual([2, expect.stringContaining('--force-update')]);
    expect((await b.registry.all()).size).toBe(0);
  });

  const preparing = refused('launch', 'instance "k8smaster1" is being prepared');

  it('of a labup that was killed is waited for', async () => {
    let looks = 0;
    b.fake.hooks.push(([, verb]) => {
      if (verb !== 'launch' || ++looks > 3) return undefined;
      if (looks < 3) return preparing;
      b.fake.vms.set('k8smaster1', {
        state: 'Starting',
        owner: plan.lab,
        address: '10.97.0.9',
        finished: true,
        errors: [],
      });
      return undefined;
    });
    b.fake.hooks.push(([, verb]) => {
      const vm = b.fake.vms.get('k8smaster1');
      // It starts while it is looked at.
      if (verb === 'exec' || vm?.state !== 'Starting' || verb !== 'list') return undefined;
      vm.state = 'Running';
      return undefined;
    });
    expect(await b.up()).toBe(true);
    expect(launches()).toEqual([...ALL, 'k8smaster1', 'k8smaster1'].sort());
    expect(b.fake.lines('delete')).toEqual([]);
  });

  it('of a labup that was killed is done again where nothing came of it', async () => {
    b.fake.hooks.push(once('launch', preparing));
    expect(await b.up()).toBe(true);
    expect(launches()).toEqual([...ALL, 'k8smaster1'].sort());
  });

  it('that never ends is told of, with what gets the daemon out of it', async () => {
    b.fake.hooks.push(([, verb]) => (verb === 'launch' ? preparing : undefined));
    const failed = await error(b.up());
    expect(failed.details.join()).toContain(
      'an earlier launch of k8smaster1, which the daemon is at, in vain',
    );
    expect(failed.next).toContain('snap restart multipass');
    expect((await b.registry.of(plan.lab)).has('k8smaster1')).toBe(true);
  });

  it('that the daemon finished behind a client that gave up is kept', async () => {
    b.fake.hooks.push(once('launch', slow));
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', {
          state: 'Running',
          owner: plan.lab,
          address: '10.97.0.9',
          finished: true,
          errors: [],
        });
        return undefined;
      }),
    );
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('delete')).toEqual([]);
  });

  it('is not taken over where somebody else was faster', async () => {
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', { state: 'Running', address: '10.97.0.9', finished: true, errors: [] });
        return undefined;
      }),
    );
    const failed = await error(b.up());
    expect(failed).toBeInstanceOf(UserError);
    expect(failed.details.join()).toMatch(/appeared while labup was at work/);
    expect(b.fake.lines('delete')).toEqual([]);
    expect((await b.registry.all()).size).toBe(0);
  });

  it('is undone where the user-data did not arrive', async () => {
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', { state: 'Running', address: '10.97.0.9', finished: true, errors: [] });
        return 'Launched: k8smaster1\n';
      }),
    );
    const failed = await error(b.up());
    expect(failed.details.join('\n')).toMatch(/k8smaster1 came up without the lab's user-data/);
    expect(b.fake.lines('delete')).toEqual(['delete --purge k8smaster1']);
    expect((await b.registry.all()).size).toBe(0);
  });

  it('counts as one where cloud-init had errors, and names the machine', async () => {
    b.fake.hooks.push(
      once(
        'launch',
        () => {
          b.fake.vms.set('bgp', {
            state: 'Running',
            owner: plan.lab,
            address: '10.97.0.9',
            finished: false,
            errors: ['frr: not found'],
          });
          return '';
        },
        'bgp',
      ),
    );
    const failed = await error(b.up());
    expect(failed.message).toBe('Not made: bgp.');
    expect(failed.details).toEqual(
      expect.arrayContaining(['bgp: cloud-init failed on bgp.', '  frr: not found']),
    );
    expect(failed.next).toContain('multipass exec -n bgp -- sudo tail');
  });

  it('and failed in cloud-init is done again by the next labup, also after a boot that hid the error', async () => {
    const broken = { state: 'Running', owner: plan.lab, address: '10.97.0.9', finished: true };
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', { ...broken, errors: ['no mirror'] });
        return '';
      }),
    );
    await error(b.up());
    b.fake.vms.set('k8smaster1', { ...broken, errors: [] });
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('delete')).toEqual(['delete --purge k8smaster1']);
    expect(launches()).toEqual([...ALL, 'k8smaster1'].sort());
    expect(await b.up()).toBe(false);
  });

  it('is not what a working machine with an error at a later boot is thrown away for', async () => {
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.errors = ['at every boot'];
    for (const _ of ['once', 'twice']) {
      const failed = await error(b.up());
      expect(failed.details).toContain('bgp: cloud-init failed on bgp.');
      expect(failed.next).toContain('npx labdown');
    }
    expect(b.fake.lines('delete')).toEqual([]);
  });

  it('survives a daemon that restarts meanwhile', async () => {
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', {
          state: 'Stopped',
          owner: plan.lab,
          address: '10.97.0.9',
          finished: true,
          errors: [],
        });
        return refused('launch', 'cannot connect to the multipass socket');
      }),
      once('list', refused('list', 'cannot connect to the multipass socket')),
    );
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('start')).toEqual(['start k8smaster1 --timeout 300']);
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
    const failed = await error(b.up());
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

  it.each([
    ['Unavailable', UserError, /zone/],
    ['Hibernating', LabFailure, /state "Hibernating"/],
  ])('and ours but %s is reported', async (state, type, message) => {
    await b.up();
    const vm = b.fake.vms.get('bgp');
    if (vm) vm.state = state;
    const failed = await error(b.up());
    expect(failed).toBeInstanceOf(type);
    expect([failed.message, ...failed.details].join()).toMatch(message);
  });

  it('and ours, running without an answer, is reported by name', async () => {
    await b.up();
    b.fake.hooks.push(([, verb, , name]) =>
      verb === 'exec' && name === 'bgp'
        ? refused('exec', "ssh connection failed: 'Failed to connect: No route to host'")
        : undefined,
    );
    const failed = await error(b.up());
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
    const failed = await error(b.up(documents(plan.lab, 'timezone: UTC\n')));
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
