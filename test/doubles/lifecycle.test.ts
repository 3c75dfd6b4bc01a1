/** The state machine, what launch leaves behind, and the knobs that make it fail. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Double } from './support.ts';

let double: Double;
beforeEach(() => {
  double = new Double();
});

const launched = (name = 'a') => double.ok('launch', '--name', name);

describe('states', () => {
  it('go from launch to purge', async () => {
    expect(await launched()).toBe('Launched: a\n');
    expect(await double.state('a')).toBe('Running');
    expect(await double.ok('start', 'a')).toBe('');
    await double.ok('suspend', 'a');
    expect(await double.state('a')).toBe('Suspended');
    await double.ok('start', 'a');
    expect(await double.state('a')).toBe('Running');
    await double.ok('stop', 'a');
    await double.ok('stop', 'a');
    expect(await double.state('a')).toBe('Stopped');
    await double.ok('delete', 'a');
    await double.ok('delete', 'a');
    expect(await double.state('a')).toBe('Deleted');
    await double.ok('recover', 'a');
    await double.ok('recover', 'a');
    expect(await double.state('a')).toBe('Stopped');
    await double.ok('delete', 'a');
    await double.ok('purge');
    expect(await double.state('a')).toBeUndefined();
    await launched();
  });

  it('delete --purge takes live and deleted ones, and --all means all', async () => {
    await launched('a');
    await launched('b');
    await double.ok('delete', 'b');
    await double.ok('delete', '--purge', 'a', 'b');
    expect(await double.json('list')).toEqual({ list: [] });
    await launched('a');
    await launched('b');
    await double.ok('stop', '--all');
    expect([await double.state('a'), await double.state('b')]).toEqual(['Stopped', 'Stopped']);
    await double.ok('delete', '--all', '-p');
    expect(await double.json('list')).toEqual({ list: [] });
  });

  it('exec and start begin what is stopped; without a name it is the primary, launched if need be', async () => {
    double.answers([{ match: '^true$' }]);
    await launched();
    await double.ok('stop', 'a');
    await double.ok('exec', '-n', 'a', 'true');
    expect(await double.state('a')).toBe('Running');
    await double.ok('start');
    expect(await double.state('primary')).toBe('Running');
    await double.ok('stop');
    expect(await double.state('primary')).toBe('Stopped');
  });

  it('Unknown is no state to start from, to restart or to exec in', async () => {
    await launched();
    double.set({ unknownState: ['a'] });
    expect(await double.state('a')).toBe('Unknown');
    expect((await double.run(['start', 'a'])).stderr).toBe(
      "start failed: The following errors occurred:\nInstance 'a' is already running, but in an unknown state.\nTry to stop it first.\n",
    );
    expect((await double.run(['exec', '-n', 'a', 'true'])).stderr).toBe(
      'exec failed: Cannot retrieve credentials in unknown state\n',
    );
    await double.ok('delete', '-p', 'a');
  });

  it('a stopped one cannot be restarted, a suspended one not be stopped', async () => {
    await launched();
    await double.ok('suspend', 'a');
    expect(await double.run(['stop', 'a'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'stop failed: Cannot shut down suspended instance a.\nUse --force to power it off.\n',
    });
    await double.ok('stop', '--force', 'a');
    expect((await double.run(['restart', 'a'])).stderr).toBe(
      "restart failed: Instance 'a' is already running, but in an unknown state.\nTry to stop and start it instead.\n",
    );
    double.set({ version: '1.17.0' });
    expect((await double.run(['restart', 'a'])).stderr).toBe("restart failed: Instance 'a' is not running\n");
  });

  it('a shutdown can be put off, and called off', async () => {
    await launched();
    await double.ok('stop', '--time', '5', 'a');
    expect(await double.state('a')).toBe('Delayed Shutdown');
    await double.ok('stop', '--cancel', 'a');
    expect(await double.state('a')).toBe('Running');
    expect((await double.run(['stop', '-t', 'x', 'a'])).stderr).toBe('Time must be in digit form\n');
  });
});

describe('a launch', () => {
  it('says Launched: NAME, in 1.17 with the zone', async () => {
    double.set({ version: '1.17.0' });
    expect(await double.ok('launch', '-n', 'a', '--zone', 'zone2')).toBe('Launched: a in zone2\n');
  });

  it('finds a name of its own', async () => {
    expect(await double.ok('launch', '--name', '')).toMatch(/^Launched: [a-z]+-[a-z]+\n$/);
  });

  it('shows its progress on standard output', async () => {
    double.set({ spinner: true });
    const text = await launched();
    expect(text.startsWith('\x1B[2K\x1B[0A\x1B[0E')).toBe(true);
    expect(text).toMatch(/\r.*100%/);
    expect(text).toContain('Waiting for initialization to complete  \b');
    expect(text.endsWith('\x1B[2K\x1B[0A\x1B[0ELaunched: a\n')).toBe(true);
  });

  it('whose SSH never answers leaves an instance in state Unknown', async () => {
    double.set({ sshTimeout: ['a'], giveUpMs: 20 });
    expect(await double.run(['launch', '-n', 'a'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'launch failed: The following errors occurred:\na: timed out waiting for response\n',
    });
    expect(await double.state('a')).toBe('Unknown');
    expect((await double.run(['launch', '-n', 'a'])).stderr).toBe(
      'launch failed: instance "a" already exists\n',
    );
    await double.ok('stop', '--force', 'a');
    expect(await double.state('a')).toBe('Stopped');
  });

  it('whose cloud-init never ends leaves a running instance', async () => {
    double.set({ cloudInitTimeout: ['a'], giveUpMs: 20 });
    expect((await double.run(['launch', '-n', 'a'])).stderr).toBe(
      'launch failed: The following errors occurred:\ntimed out waiting for initialization to complete\n',
    );
    expect(await double.state('a')).toBe('Running');
  });

  it('that fails before the start removes the instance', async () => {
    const { code, stderr } = await double.run(['launch', '-n', 'a', '--cloud-init', '-'], 'just words');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'launch failed: operator[] call on a scalar (key: "users")\n',
    });
    expect(await double.state('a')).toBeUndefined();
  });

  it('goes on when its client has waited long enough', async () => {
    double.set({ launchDelayMs: { '*': 1500 } });
    expect(await double.run(['launch', '-n', 'a', '--timeout', '1'])).toEqual({
      code: 5,
      stdout: '',
      stderr: 'Timed out waiting for instance launch.\n',
    });
    // Its name is taken meanwhile, though nobody lists it.
    expect(await double.state('a')).toBeUndefined();
    expect((await double.run(['launch', '-n', 'a'])).stderr).toBe(
      'launch failed: instance "a" is being prepared\n',
    );
    await expect.poll(() => double.state('a'), { timeout: 10_000 }).toBe('Running');
  });

  it('waits for a slow daemon', async () => {
    double.set({ daemonDelayMs: 120 });
    const started = performance.now();
    await double.ok('list');
    expect(performance.now() - started).toBeGreaterThan(115);
  });

  it('takes bridges for more network cards, and the bridged one from the settings', async () => {
    const mac = '52:54:00:01:02:03';
    await double.ok('launch', '-n', 'a', '--network', `name=br0,mode=manual,mac=${mac}`, '--network', 'br0');
    const network = double.inGuest('a', 'var/lib/cloud/seed/nocloud-net/network-config');
    expect(network).toMatch(/extra1:\n {4}match:\n {6}macaddress: 52:54:00:/);
    expect(network).toContain('route-metric: 200');
    expect(network).not.toContain(mac);
    expect((await double.run(['launch', '--bridged'])).stderr).toContain("Invalid network '' set as bridged");
    await double.ok('set', 'local.bridged-network=br0');
    await double.ok('launch', '-n', 'b', '--bridged');
  });
});

describe('settings', () => {
  it('have values, or <empty>', async () => {
    expect(await double.ok('get', 'local.driver')).toBe('qemu\n');
    expect(await double.ok('get', 'local.bridged-network')).toBe('<empty>\n');
    expect(await double.ok('get', 'local.passphrase')).toBe('false\n');
    await double.ok('set', 'local.passphrase=x');
    expect(await double.ok('get', 'local.passphrase')).toBe('true\n');
    expect((await double.run(['set', 'a=b=c'])).code).toBe(1);
    expect((await double.run(['get', 'local.nope'])).code).toBe(1);
  });

  it('of an instance change only while it is stopped', async () => {
    await double.ok('launch', '-n', 'a', '-m', '2G');
    expect(await double.ok('get', 'local.a.memory')).toBe('2.0GiB\n');
    expect(await double.run(['set', 'local.a.cpus=4'])).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'set failed: Cannot update instance settings; instance: a; reason: Instance must be stopped for modification\n',
    });
    await double.ok('stop', 'a');
    await double.ok('set', 'local.a.cpus=4');
    expect(await double.ok('get', 'local.a.cpus')).toBe('4\n');
    expect((await double.ok('get', '--keys')).split('\n')).toContain('local.a.disk');
  });
});

describe('snapshots and clones', () => {
  beforeEach(() => launched());

  it('need a stopped instance', async () => {
    for (const [argv, text] of [
      [['snapshot', 'a'], 'snapshot failed: Multipass can only take snapshots of stopped instances.\n'],
      [['restore', 'a.x'], 'restore failed: Multipass can only restore snapshots of stopped instances.\n'],
      [['clone', 'a'], 'clone failed: Multipass can only clone stopped instances.\n'],
    ] as const) {
      expect((await double.run(argv)).stderr).toBe(text);
    }
  });

  it('bring back what was, if that is confirmed', async () => {
    await double.ok('transfer', double.file('one', '1'), 'a:state');
    await double.ok('stop', 'a');
    await double.ok('snapshot', 'a');
    expect((await double.run(['snapshot', 'a', '-n', 'snapshot1'])).stderr).toBe(
      'snapshot failed: Snapshot already exists: a.snapshot1\n',
    );
    await double.ok('start', 'a');
    await double.ok('transfer', double.file('two', '2'), 'a:state');
    await double.ok('stop', 'a');
    const refused = await double.run(['restore', 'a.snapshot1']);
    expect(refused.stderr).toContain("Unable to query client for confirmation. Use '--destructive' to ");
    expect(refused.stderr).toContain('restore failed: Cannot get confirmation from client. Aborting...\n');
    expect((await double.run(['restore', '-d', 'a.x'])).stderr).toBe(
      'restore failed: No such snapshot: a.x\n',
    );
    expect(await double.ok('restore', '-d', 'a.snapshot1')).toBe('Snapshot restored: a.snapshot1\n');
    expect(double.inGuest('a', 'home/ubuntu/state')).toBe('1');
    expect((await double.run(['delete', 'a.snapshot1'])).code).toBe(1);
    await double.ok('delete', '--purge', 'a.snapshot1');
    expect(await double.state('a')).toBe('Stopped');
    expect(await double.ok('list', '--snapshots')).toBe('No snapshots found.\n');
  });

  it('a clone is another machine, left stopped', async () => {
    await double.ok('stop', 'a');
    expect(await double.ok('clone', 'a')).toBe('Cloned from a to a-clone1.\n');
    expect(await double.ok('clone', 'a', '-n', 'b')).toBe('Cloned from a to b.\n');
    expect(await double.state('a-clone1')).toBe('Stopped');
    const seed = (name: string) => double.inGuest(name, 'var/lib/cloud/seed/nocloud-net/network-config');
    expect(seed('b')).not.toBe(seed('a'));
  });
});

describe('wait-ready', () => {
  it('is of 1.17, and ends with code 5 when its time is up', async () => {
    double.set({ version: '1.17.0' });
    await double.ok('wait-ready');
    double.set({ daemon: 'down' });
    expect(await double.run(['wait-ready', '--timeout', '1'])).toEqual({
      code: 5,
      stdout: '',
      stderr: 'Timed out waiting for the Multipass daemon to be ready.\n',
    });
  });
});

describe('a daemon with news', () => {
  it('is away for a while after a global setting was changed', async () => {
    double.set({ daemonRestartMs: 400 });
    await double.ok('set', 'client.primary-name=first');
    await double.ok('list');
    await double.ok('set', 'local.driver=qemu');
    expect((await double.run(['list'])).stderr).toBe('list failed: cannot connect to the multipass socket\n');
    await expect.poll(async () => (await double.run(['list'])).code).toBe(0);
  });

  it('says on standard error what is deprecated, and in version what is newer', async () => {
    const update = { title: 'Multipass 1.17.0 release', description: 'Zones', url: 'https://example.com' };
    double.set({ notice: '*** Warning! The lxd driver is deprecated\n', update });
    expect(await double.run(['list', '--format', 'json'])).toEqual({
      code: 0,
      stdout: '{\n    "list": [\n    ]\n}\n',
      stderr: '*** Warning! The lxd driver is deprecated\n',
    });
    expect(await double.json('version')).toEqual({ multipass: '1.16.3', multipassd: '1.16.3', update });
    expect(await double.ok('version')).toContain('# Multipass 1.17.0 release update available #');
  });
});
