import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { CommandError } from '../../scripts/exec/executor.ts';
import { notesFolder } from '../../scripts/machines/notes.ts';
import { pendingPlan } from '../../scripts/plan/found.ts';
import { UserError } from '../../scripts/shared/errors.ts';
import { silent } from '../../scripts/shared/events.ts';
import type { Secrets } from '../../scripts/shared/secrets.ts';
import { guestAnswer, once, refused } from '../fakes/multipass.ts';
import { recorded } from '../fakes/multipass-recorded.ts';
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
const secrets = { clientKey: { privateKey: 'PRIVATE', publicKey: 'PUBLIC' } } as Secrets;

describe('the host', () => {
  const check = (wanted = plan) => b.driver.ensureHost(wanted, (event) => b.events.push(event));

  it('is only looked at', async () => {
    expect(await check()).toBe(false);
    expect(b.fake.lines()).toEqual([
      'list --no-ipv4 --format json',
      'version --format json',
      'get local.driver',
      'get client.primary-name',
    ]);
    expect(b.events).toContainEqual({ type: 'note', text: 'Multipass 1.16.3, driver qemu' });
  });

  it('without Multipass is told how to get it', async () => {
    b.fake.hooks.push(() => ({ exitCode: 127, stderr: 'bash: exec: multipass: not found' }));
    const failed = await failureOf(check());
    expect([failed.exitCode, failed.message]).toEqual([
      2,
      'Multipass could not list the instances: it is not installed.',
    ]);
  });

  it('with an old one is told to update', async () => {
    b.fake.version = '1.14.1';
    expect((await failureOf(check())).message).toBe('multipass 1.14.1 is too old; 1.15 or later is needed');
  });

  it('is waited for while its daemon starts', async () => {
    const down = recorded('down-list-json');
    b.fake.hooks.push(once('list', down), once('list', down));
    expect(await check()).toBe(false);
    expect(b.events).toContainEqual({ type: 'note', text: expect.stringContaining('does not answer') });
  });

  it('is waited for while its daemon waits for a guest to shut down', async () => {
    const blocked = new CommandError('this host', ['multipass', 'list'], {
      exitCode: null,
      how: 'timeout after 30 s',
      stdout: '',
      stderr: '',
    });
    let looks = 0;
    b.fake.hooks.push(([, verb]) => {
      if (verb === 'list' && ++looks < 4) throw blocked;
      return undefined;
    });
    expect(await check()).toBe(false);
    expect(looks).toBe(4);
  });

  it('whose daemon stays silent is told so, with the command that starts it', async () => {
    b = bench(IMPATIENT);
    b.fake.daemon = false;
    const failed = await failureOf(check());
    expect(failed).toBeInstanceOf(UserError);
    expect(failed.next).toContain('snap start multipass');
  });

  it.each(['multipass socket access denied', 'The user is not authenticated with the Multipass service.'])(
    'is not waited for where it says: %s',
    async (text) => {
      b.fake.hooks.push(
        once('version', '{"multipass": "1.16.3"}'),
        once('version', '{"multipass": "1.16.3"}'),
        once('list', refused('list', text)),
      );
      expect((await failureOf(check())).exitCode).toBe(2);
      expect(b.fake.lines('list')).toHaveLength(1);
    },
  );

  it.each(['lxd', 'virtualbox'])('with driver %s is refused', async (name) => {
    b.fake.settings['local.driver'] = name;
    const failed = await failureOf(check());
    expect(failed.message).toContain(`makes machines with "${name}"; the lab needs qemu`);
    expect(b.fake.lines('set')).toEqual([]);
  });

  it('whose primary instance has a name of ours is refused', async () => {
    b.fake.settings['client.primary-name'] = 'bgp';
    expect((await failureOf(check())).next).toBe('rename machine bgp in lab.yaml');
  });

  it.each([
    ['eth0', /is of type ethernet/],
    ['wlan0', /is of type wifi/],
    ['br9', /knows no network "br9"/],
    [undefined, /knows no network ""/],
  ])('has to have the bridge: %s', async (bridge, message) => {
    const failed = await failureOf(check(multipassPlan({ network: { mode: 'bridge', bridge } })));
    expect(failed.message).toMatch(message);
    expect(failed.next).toContain('one of: br0');
  });

  it('may have the bridge', async () => {
    expect(await check(multipassPlan({ network: { mode: 'bridge', bridge: 'br0' } }))).toBe(false);
  });
});

describe('the image', () => {
  const check = (image = '24.04') => b.driver.ensureImage(multipassPlan({ image }), undefined, silent);

  it('has to be known', async () => {
    b = bench(IMPATIENT);
    expect(await check()).toBe(false);
    const failed = await failureOf(check('99.04'));
    expect([failed.exitCode, failed.message]).toEqual([2, 'Multipass knows no image "99.04".']);
    expect(b.fake.lines('find').filter((line) => line.includes('--force-update'))).toHaveLength(1);
  });

  it('is waited for while the daemon gets its lists', async () => {
    b.fake.hooks.push(
      once('find', refused('find', 'Remote "" is unknown or unreachable.')),
      once('find', '{"errors": [], "images": {}}'),
    );
    expect(await check()).toBe(false);
    expect(b.fake.lines('find')).toHaveLength(3);
  });

  it.each(['find-2404-json', 'launch-2404-noserver'])(
    'whose server stays unreachable is reported as that: %s',
    async (label) => {
      b = bench(IMPATIENT);
      b.fake.hooks.push(([, verb]) => (verb === 'find' ? recorded(label) : undefined));
      const failed = await failureOf(check());
      expect(failed.exitCode).toBe(2);
      expect(failed.message).toContain('could not reach the image server');
      expect(failed.next).toContain('--force-update');
    },
  );

  it('that cannot be asked for is reported with what Multipass said', async () => {
    b = bench(IMPATIENT);
    b.fake.hooks.push(([, verb]) => (verb === 'find' ? refused('find', 'something new') : undefined));
    expect((await failureOf(check())).message).toBe(
      'Multipass could not look for image 24.04: something new.',
    );
  });

  it('is not looked for where every machine is there, or where it is a file', async () => {
    expect(await check('file:///srv/noble.img')).toBe(false);
    await b.up();
    await check();
    expect(b.fake.lines('find')).toEqual([]);
  });
});

describe('how machines are reached', () => {
  const reach = () => b.driver.reach(plan, secrets, silent);

  it('is asked of each of them, in plan order, with the key that it shows there', async () => {
    await b.up();
    const targets = await reach();
    expect(targets.map(({ name }) => name)).toEqual(NAMES);
    expect(targets[4]).toEqual({
      name: 'bgp',
      address: b.fake.vms.get('bgp')?.address,
      user: 'root',
      privateKey: 'PRIVATE',
      hostKey: 'ssh-ed25519 KEY-OF-bgp root@bgp',
    });
    expect(b.fake.local.lines().join()).not.toContain('PRIVATE');
  });

  it('is another way after a start', async () => {
    await b.up();
    const [before] = await reach();
    const vm = b.fake.vms.get('k8smaster1');
    if (vm) vm.state = 'Stopped';
    await b.up();
    const [after] = await reach();
    expect(after?.address).not.toBe(before?.address);
    expect(after?.address).toBe(vm?.address);
  });

  it('is not told of a machine that is down', async () => {
    await b.up();
    const vm = b.fake.vms.get('routed');
    if (vm) vm.state = 'Stopped';
    const failed = await failureOf(reach());
    expect([failed.message, failed.next]).toEqual(['Not running: routed.', 'npx labup --yes']);
    expect(b.fake.lines('start')).toEqual([]);
  });

  it('is waited for while a machine has no address, and told of no foreign one', async () => {
    b = bench(IMPATIENT);
    await b.up();
    const bgp = b.fake.vms.get('bgp');
    if (bgp) bgp.address = '192.168.13.99';
    expect((await failureOf(reach())).message).toMatch(/bgp to have an address/);
    if (bgp) bgp.owner = 'other-lab';
    expect((await failureOf(reach())).message).toMatch(/not lab "bgp-lab"'s: bgp/);
  });
});

describe('the addresses of mode dhcp', () => {
  const dhcp = pendingPlan(multipassPlan({ network: { mode: 'dhcp' } }));
  const find = async (wanted = dhcp) => b.driver.findAddresses?.(wanted, silent);
  const up = () => b.up(documents(), dhcp);

  it('are those that the machines have from Multipass, and the host is their gateway', async () => {
    await up();
    const addresses = NAMES.map((name) => [name, b.fake.vms.get(name)?.address] as const);
    expect(await find()).toEqual({
      subnet: '10.97.0.0/24',
      hostAddress: '10.97.0.1',
      machines: new Map(addresses),
    });
    expect((await b.driver.reach(dhcp, secrets, silent)).map(({ name, address }) => [name, address])).toEqual(
      addresses,
    );
  });

  it('may lie anywhere, also where lab.yaml puts a lab', async () => {
    await up();
    const bgp = b.fake.vms.get('bgp');
    if (bgp) bgp.address = '192.168.13.99';
    expect((await find())?.machines.get('bgp')).toBe('192.168.13.99');
  });

  it('are asked for each time, and need every machine to run', async () => {
    await up();
    const before = await find();
    const vm = b.fake.vms.get('k8sworker1');
    if (vm) vm.state = 'Stopped';
    expect((await failureOf(find())).message).toBe('Not running: k8sworker1.');
    await up();
    expect((await find())?.machines.get('k8sworker1')).not.toBe(before?.machines.get('k8sworker1'));
  });

  it('are of no use without a way to this host', async () => {
    await up();
    b.fake.hooks.push(([, verb, , name = '']) => {
      const vm = b.fake.vms.get(name);
      if (verb !== 'exec' || vm === undefined) return undefined;
      return guestAnswer(vm, name).replaceAll('"gateway":"10.97.0.1",', '');
    });
    expect((await failureOf(find())).message).toBe(
      'k8smaster1 has no gateway, so the address of this host is not known.',
    );
  });

  it('are nobody else’s business: in other modes nothing is asked', async () => {
    await b.up();
    const calls = b.fake.lines('exec').length;
    expect(await find(plan)).toBeUndefined();
    expect(b.fake.lines('exec')).toHaveLength(calls);
  });
});

describe('what is there of a lab', () => {
  it('is nothing, without asking, where nothing was noted', async () => {
    b.fake.hooks.push(() => ({ exitCode: 127 }));
    expect(await b.driver.observe(plan.lab)).toEqual([]);
    expect(b.fake.lines()).toEqual([]);
  });

  it('is what was noted and exists, in its state', async () => {
    await b.put('bgp', 'Running', { noted: plan.lab });
    await b.put('routed', 'Delayed Shutdown', { noted: plan.lab });
    await b.put('ubuntu', 'Running', { noted: 'other-lab' });
    await b.put('mine', 'Running');
    await b.put('k8smaster1', 'Running', { noted: plan.lab });
    b.fake.vms.delete('k8smaster1');
    expect(await b.driver.observe(plan.lab)).toEqual([
      { kind: 'machine', name: 'bgp', state: 'running' },
      { kind: 'machine', name: 'routed', state: 'delayed shutdown' },
    ]);
  });
});

describe('the registry', () => {
  it('is for its user alone', async () => {
    await b.put('bgp', 'Running', { noted: plan.lab });
    const file = join(b.registry.folder, 'bgp.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(b.registry.folder)).toEqual(['bgp.json']);
  });

  it('is in the state folder of the XDG standard', () => {
    expect(notesFolder('multipass', { XDG_STATE_HOME: '/state', HOME: '/home/me' })).toBe(
      '/state/k8s-bgp-lab/multipass',
    );
    expect(notesFolder('multipass', { XDG_STATE_HOME: 'state', HOME: '/home/me' })).toBe(
      '/home/me/.local/state/k8s-bgp-lab/multipass',
    );
  });

  it('that is damaged is named, and nothing is removed', async () => {
    await b.put('bgp', 'Running', { noted: plan.lab });
    writeFileSync(join(b.registry.folder, 'bgp.json'), '{');
    const failed = await failureOf(b.driver.remove(plan.lab, silent));
    expect([failed.exitCode, failed.message]).toEqual([2, expect.stringContaining('bgp.json is damaged')]);
    expect(b.fake.vms.size).toBe(1);
  });
});
