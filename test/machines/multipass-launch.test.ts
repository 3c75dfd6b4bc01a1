import { beforeEach, describe, expect, it } from 'vitest';
import { LabFailure, UserError } from '../../scripts/shared/errors.ts';
import { once, refused } from '../fakes/multipass.ts';
import { recorded } from '../fakes/multipass-recorded.ts';
import { type Bench, bench, failureOf, IMPATIENT, NAMES, plan } from './multipass-fixtures.ts';

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

describe('a launch that goes wrong', () => {
  it('stops the rest, waits for those under way and names all', async () => {
    b.fake.hooks.push(once('launch', refused('launch', 'something new'), 'k8sworker2'));
    const failed = await failureOf(b.up());
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
    const failed = await failureOf(b.up());
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

  it('is repeated once where the daemon has waited for SSH to the end', async () => {
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', { state: 'Unknown', address: 'N/A', finished: false, errors: [] });
        return recorded('launching-again');
      }),
    );
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('delete')).toEqual(['delete --purge k8smaster1']);
    expect(launches()).toEqual(['k8smaster1', ...ALL].sort());
  });

  it.each([
    ['launch-timeout5', 'the client gave up'],
    ['down-launch', 'the daemon went away'],
  ])('is not repeated while the machine boots: %s, %s', async (label) => {
    const booting = { state: 'Unknown', owner: plan.lab, address: 'N/A', finished: true, errors: [] };
    let looks = 0;
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', booting);
        return recorded(label);
      }),
      ([, verb]) => {
        if (verb === 'list' && b.fake.vms.has('k8smaster1') && ++looks === 20) booting.state = 'Running';
        return undefined;
      },
    );
    expect(await b.up()).toBe(true);
    expect(launches()).toEqual(ALL);
    expect([...b.fake.lines('delete'), ...b.fake.lines('stop')]).toEqual([]);
  });

  it('that a killed labup has begun is waited for while its machine boots', async () => {
    const booting = { state: 'Unknown', owner: plan.lab, address: 'N/A', finished: true, errors: [] };
    const launchedAt = new Date().toISOString();
    await b.registry.write('k8smaster1', { lab: plan.lab, launched: false, launchedAt });
    let looks = 0;
    b.fake.hooks.push(
      once('launch', () => {
        b.fake.vms.set('k8smaster1', booting);
        return recorded('same-name-while-preparing');
      }),
      ([, verb]) => {
        if (verb === 'list' && b.fake.vms.has('k8smaster1') && ++looks === 20) booting.state = 'Running';
        return undefined;
      },
    );
    expect(await b.up()).toBe(true);
    expect([...b.fake.lines('delete'), ...b.fake.lines('stop')]).toEqual([]);
  });

  it('says meanwhile what the daemon lists', async () => {
    const text = () => b.events.flatMap((event) => ('text' in event ? [event.text] : [])).join('\n');
    const vm = { state: 'Unknown', owner: plan.lab, address: '10.97.0.9', finished: true, errors: [] };
    let first = true;
    b.fake.hooks.push(async ([, verb]) => {
      if (verb !== 'launch' || !first) return undefined;
      first = false;
      await expect.poll(text).toContain('waiting for k8smaster1 to run: it is being prepared');
      b.fake.vms.set('k8smaster1', vm);
      await expect.poll(text).toContain('waiting for k8smaster1 to run: it boots');
      vm.state = 'Running';
      await expect.poll(text).toContain('k8smaster1 runs, and cloud-init is running');
      return 'Launched: k8smaster1\n';
    });
    expect(await b.up()).toBe(true);
  });

  it('is given up after the second time, and the machine is left to be looked at', async () => {
    b = bench(IMPATIENT);
    b.fake.hooks.push(([, verb]) => {
      if (verb !== 'launch') return undefined;
      b.fake.vms.set('k8smaster1', { state: 'Unknown', address: 'N/A', finished: false, errors: [] });
      return slow;
    });
    const failed = await failureOf(b.up());
    expect(failed.message).toBe('Not made: k8smaster1.');
    expect(failed.details.join('\n')).toMatch(/launched twice[\s\S]*its state: unknown/);
    expect(launches()).toHaveLength(2);
    expect(b.fake.vms.has('k8smaster1')).toBe(true);
    expect((await b.registry.of(plan.lab)).get('k8smaster1')).toMatchObject({ launched: true, failed: true });
    // The next labup makes it anew.
    b.fake.hooks.length = 0;
    expect(await b.up()).toBe(true);
    expect(b.fake.lines('delete')).toEqual(['delete --purge k8smaster1', 'delete --purge k8smaster1']);
  });

  it('is asked for again while the daemon does not know its image servers', async () => {
    const unknown = refused('launch', 'Remote "" is unknown or unreachable.');
    b.fake.hooks.push(once('launch', unknown), once('launch', unknown));
    expect(await b.up()).toBe(true);
    expect(launches()).toHaveLength(9);
  });

  it('is reported with its cure where the image servers stay unknown', async () => {
    b = bench(IMPATIENT);
    b.fake.hooks.push(([, verb]) =>
      verb === 'launch' ? refused('launch', 'Remote "" is unknown or unreachable.') : undefined,
    );
    const failed = await failureOf(b.up());
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
    b = bench(IMPATIENT);
    b.fake.hooks.push(([, verb]) => (verb === 'launch' ? preparing : undefined));
    const failed = await failureOf(b.up());
    expect(failed.details.join()).toContain(
      'waiting for an earlier launch of k8smaster1, which the daemon is at (last seen: ',
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
    const failed = await failureOf(b.up());
    expect(failed).toBeInstanceOf(UserError);
    expect(failed.details.join()).toMatch(/appeared while labup ran/);
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
    const failed = await failureOf(b.up());
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
    const failed = await failureOf(b.up());
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
    await failureOf(b.up());
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
      const failed = await failureOf(b.up());
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
