/** The state machine, what launch leaves behind, and the knobs that make it fail. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Double } from './support.ts';

let double: Double;
beforeEach(() => {
  double = new Double();
});

const launched = (name = 'a') => double.ok('launch', '--name', name);

describe('states', () => {
  it('go from launch to deleted', async () => {
    expect(await launched()).toBe('Launched: a\n');
    expect(await double.state('a')).toBe('Running');
    expect(await double.ok('start', 'a')).toBe('');
    await double.ok('stop', 'a');
    await double.ok('stop', 'a');
    expect(await double.state('a')).toBe('Stopped');
    await double.ok('delete', 'a');
    await double.ok('delete', 'a');
    expect(await double.state('a')).toBe('Deleted');
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

  it('exec starts what is stopped', async () => {
    double.answers([{ match: '^true$' }]);
    await launched();
    await double.ok('stop', 'a');
    await double.ok('exec', '-n', 'a', 'true');
    expect(await double.state('a')).toBe('Running');
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

  it('a stopped one cannot be restarted', async () => {
    await launched();
    await double.ok('stop', '--force', 'a');
    expect((await double.run(['restart', 'a'])).stderr).toBe(
      "restart failed: Instance 'a' is already running, but in an unknown state.\nTry to stop and start it instead.\n",
    );
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
    expect((await double.run(['launch', '-n', 'a', '--cloud-init', '-'], 'just words')).code).toBe(2);
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
    await double.json('list');
    expect(performance.now() - started).toBeGreaterThan(115);
  });

  it('takes bridges for more network cards', async () => {
    const mac = '52:54:00:01:02:03';
    await double.ok('launch', '-n', 'a', '--network', `name=br0,mode=manual,mac=${mac}`, '--network', 'br0');
    const network = double.inGuest('a', 'var/lib/cloud/seed/nocloud-net/network-config');
    expect(network).toMatch(/extra1:\n {4}match:\n {6}macaddress: 52:54:00:/);
    expect(network).toContain('route-metric: 200');
    expect(network).not.toContain(mac);
  });
});
