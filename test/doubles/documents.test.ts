/** What `version`, `list`, `info`, `networks` and `find` print, to the byte where whitespace is part of the contract. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Double } from './support.ts';

let double: Double;
beforeEach(() => {
  double = new Double();
});

describe('version', () => {
  it('has the daemon where it answers', async () => {
    expect(await double.ok('version')).toBe('multipass   1.16.3\nmultipassd  1.16.3\n');
    expect(await double.ok('--version')).toBe('multipass   1.16.3\nmultipassd  1.16.3\n');
    expect(await double.ok('version', '--format=json')).toBe(
      '{\n    "multipass": "1.16.3",\n    "multipassd": "1.16.3"\n}\n',
    );
    expect(await double.ok('version', '--format', 'yaml')).toBe('multipass: 1.16.3\nmultipassd: 1.16.3\n');
  });

  it('wins over any command, even among the words of exec, unless they come after --', async () => {
    expect(await double.ok('exec', 'vm', 'foo', '--version')).toContain('multipassd');
    expect((await double.run(['exec', '-n', 'vm', '--', 'foo', '--version'])).code).toBe(2);
  });
});

describe('list', () => {
  it('of nothing', async () => {
    expect(await double.ok('list')).toBe('No instances found.\n');
    expect(await double.ok('ls', '--format', 'json')).toBe('{\n    "list": [\n    ]\n}\n');
    expect(await double.ok('list', '--snapshots')).toBe('No snapshots found.\n');
  });

  it('sorts keys up to 1.16, and puts empty lists on two lines', async () => {
    await double.ok('launch', '--name', 'lab-w1');
    await double.ok('stop', 'lab-w1');
    expect(await double.ok('list', '--format', 'json')).toBe(
      [
        '{',
        '    "list": [',
        '        {',
        '            "ipv4": [',
        '            ],',
        '            "name": "lab-w1",',
        '            "release": "Ubuntu 24.04 LTS",',
        '            "state": "Stopped"',
        '        }',
        '    ]',
        '}',
        '',
      ].join('\n'),
    );
  });

  it('has zones and its own order of keys in 1.17', async () => {
    double.set({ version: '1.17.0' });
    await double.ok('launch', '--name', 'a');
    const text = await double.ok('list', '--format', 'json');
    expect(Object.keys(JSON.parse(text).list[0])).toEqual(['name', 'state', 'ipv4', 'release', 'zone']);
    expect(JSON.parse(text).list[0].zone).toEqual({ name: 'zone1', available: true });
    expect(await double.ok('list')).toMatch(/^Name {20}State {13}IPv4 {13}Image {15}Zone\na {23}Running /);
  });

  it('is not sorted, and its table is', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const name of names) await double.ok('launch', '--name', name);
    const { list } = await double.json<{ list: readonly { name: string }[] }>('list');
    expect(list.map(({ name }) => name)).not.toEqual(names);
    expect(list.map(({ name }) => name).sort()).toEqual(names);
    expect((await double.ok('list')).match(/^[a-e](?= )/gm)).toEqual(names);
  });

  it('shows more addresses below each other', async () => {
    double.set({ extraIps: { a: { addresses: ['10.244.0.0', '10.244.0.1'] } } });
    await double.ok('launch', '--name', 'a');
    expect(await double.ok('list')).toBe(
      [
        'Name                    State             IPv4             Image',
        'a                       Running           10.97.0.10       Ubuntu 24.04 LTS',
        '                                          10.244.0.0       ',
        '                                          10.244.0.1       ',
        '',
      ].join('\n'),
    );
    expect(await double.json('list', '--no-ipv4')).toMatchObject({ list: [{ ipv4: [] }] });
  });
});

describe('info', () => {
  it('of a running instance, a stopped and a deleted one', async () => {
    for (const name of ['on', 'off', 'gone'])
      await double.ok('launch', '--name', name, '-c', '2', '-m', '2G');
    await double.ok('stop', 'off');
    await double.ok('delete', 'gone');
    const { errors, info } = await double.json<{ errors: unknown; info: Record<string, object> }>('info');
    expect(errors).toEqual([]);
    expect(info.on).toEqual({
      cpu_count: '2',
      disks: { sda1: { total: '5368709120', used: '1073741824' } },
      image_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      image_release: '24.04 LTS',
      ipv4: ['10.97.0.10'],
      load: [0.16, 0.09, 0.08],
      memory: { total: 2147483648, used: 536870912 },
      mounts: {},
      release: 'Ubuntu 24.04.3 LTS',
      snapshot_count: '0',
      state: 'Running',
    });
    const idle = {
      cpu_count: '',
      disks: { sda1: {} },
      ipv4: [],
      load: [],
      memory: {},
      mounts: {},
      release: '',
    };
    expect(info.off).toMatchObject({ ...idle, snapshot_count: '0', state: 'Stopped' });
    expect(info.gone).toMatchObject({ ...idle, state: 'Deleted' });
  });

  it('as a table', async () => {
    await double.ok('launch', '--name', 'a');
    await double.ok('stop', 'a');
    expect(await double.ok('info', 'a')).toMatch(
      /^Name: {11}a\nState: {10}Stopped\nSnapshots: {6}0\nIPv4: {11}--\nRelease: {8}--\nImage hash: {5}[0-9a-f]{12} \(Ubuntu 24\.04 LTS\)\nCPU\(s\): {9}--\nLoad: {11}--\nDisk usage: {5}--\nMemory usage: {3}--\nMounts: {9}--\n$/,
    );
  });

  it('fails as a whole where one guest does not answer, unless it need not ask', async () => {
    await double.ok('launch', '--name', 'a');
    await double.ok('launch', '--name', 'b');
    double.set({ execFailure: ['b'] });
    expect(await double.run(['info', '--format', 'json'])).toEqual({
      code: 2,
      stdout: '',
      stderr: "info failed: ssh connection failed: 'Failed to connect: No route to host'\n",
    });
    const { info } = await double.json<{ info: object }>('info', '--no-runtime-information');
    expect(Object.keys(info).sort()).toEqual(['a', 'b']);
  });

  it('of snapshots, alone and with their instance', async () => {
    await double.ok('launch', '--name', 'w');
    await double.ok('stop', 'w');
    expect(await double.ok('snapshot', 'w', '-n', 'base', '-m', 'fresh OS')).toBe('Snapshot taken: w.base\n');
    expect(await double.ok('snapshot', 'w')).toBe('Snapshot taken: w.snapshot2\n');
    expect(await double.json('list', '--snapshots')).toEqual({
      errors: [],
      info: { w: { base: { comment: 'fresh OS', parent: '' }, snapshot2: { comment: '', parent: 'base' } } },
    });
    const base = {
      children: ['snapshot2'],
      comment: 'fresh OS',
      cpu_count: '1',
      created: expect.any(String),
      disk_space: '5.0GiB',
      memory_size: '1.0GiB',
      mounts: {},
      parent: '',
      size: '',
    };
    expect(await double.json('info', 'w.base')).toEqual({ errors: [], info: { w: { snapshots: { base } } } });
    expect(await double.json('info', 'w', 'w.base')).toMatchObject({
      info: { w: { state: 'Stopped', snapshot_count: '2', snapshots: { base } } },
    });
  });
});

describe('addresses', () => {
  const ipv4 = async () => {
    const { list } = await double.json<{ list: readonly { ipv4: readonly string[] }[] }>('list');
    const { info } = await double.json<{ info: { a: { ipv4: readonly string[] } } }>('info', 'a');
    expect(info.a.ipv4).toEqual(list[0]?.ipv4);
    return list[0]?.ipv4;
  };
  beforeEach(() => double.ok('launch', '--name', 'a'));

  it.each([
    [{}, ['10.97.0.10']],
    [{ extraIps: { '*': { addresses: ['10.244.0.1'] } } }, ['10.97.0.10', '10.244.0.1']],
    [{ extraIps: { a: { addresses: ['172.17.0.1'], first: true } } }, ['172.17.0.1', '10.97.0.10']],
    [{ noIp: ['a'] }, ['N/A']],
    [{ noIp: ['a'], version: '1.17.0' }, []],
  ])('with %j', async (knobs, expected) => {
    double.set(knobs);
    expect(await ipv4()).toEqual(expected);
  });

  it('change where a knob says so', async () => {
    await double.ok('restart', 'a');
    expect(await ipv4()).toEqual(['10.97.0.10']);
    double.set({ newIpOnRestart: ['a'] });
    await double.ok('restart', 'a');
    expect(await ipv4()).toEqual(['10.97.0.11']);
    await double.ok('stop', 'a');
    await double.ok('start', 'a');
    expect(await ipv4()).toEqual(['10.97.0.12']);
  });
});

describe('networks', () => {
  it('are sorted by name', async () => {
    double.set({
      networks: [
        { name: 'eth0', type: 'ethernet', description: 'Ethernet device' },
        { name: 'br-eth0', type: 'bridge', description: 'Network bridge with eth0' },
      ],
    });
    expect(await double.json('networks')).toEqual({
      list: [
        { description: 'Network bridge with eth0', name: 'br-eth0', type: 'bridge' },
        { description: 'Ethernet device', name: 'eth0', type: 'ethernet' },
      ],
    });
    expect(await double.ok('networks')).toBe(
      'Name     Type      Description\nbr-eth0  bridge    Network bridge with eth0\neth0     ethernet  Ethernet device\n',
    );
  });
});

describe('find', () => {
  const images = async (...argv: readonly string[]) =>
    (await double.json<{ images: Record<string, object> }>('find', ...argv)).images;

  it('knows images by alias, with their remote', async () => {
    const all = await images();
    expect(all['24.04']).toEqual({
      aliases: ['noble', 'lts'],
      os: 'Ubuntu',
      release: '24.04 LTS',
      remote: '',
      version: '20260518',
    });
    expect(all['core:core24']).toMatchObject({ remote: 'core', version: 'current' });
    expect(await images('noble')).toEqual({ noble: { ...all['24.04'], aliases: [] } });
    expect(Object.keys(await double.json('find'))).toContain('blueprints (deprecated)');
  });

  it('of nothing is no error', async () => {
    expect(await images('nope')).toEqual({});
    expect(await double.ok('find', 'nope')).toBe('No images or blueprints found.\n');
  });

  it('has no blueprints in 1.17, and names its default remote', async () => {
    double.set({ version: '1.17.0' });
    expect(Object.keys(await double.json('find'))).toEqual(['errors', 'images']);
    expect((await images())['24.04']).toMatchObject({ remote: 'release' });
    expect((await double.run(['find', '--only-images'])).stderr).toBe("Unknown option 'only-images'.\n");
  });
});
