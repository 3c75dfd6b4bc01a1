import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  gatherHostFacts,
  type HostPlaces,
  readInotify,
  readKernel,
} from '../../scripts/machines/host-facts.ts';
import { lookAtDaemons, lookAtOtherLabs, machineFolder } from '../../scripts/machines/incus/daemon.ts';
import { lookAtMultipass } from '../../scripts/machines/multipass/host.ts';
import type { DriverName } from '../../scripts/spec/types.ts';
import { startIncusServer } from '../fakes/incus-server.ts';
import { recorded } from '../fakes/multipass-recorded.ts';
import { type Reply, recordingExecutor } from '../fakes/recording-executor.ts';
import { hostWith, plan } from './fixtures.ts';

const ROUTES = JSON.stringify([
  { dst: 'default', gateway: '10.0.2.2', dev: 'ens3' },
  { dst: '10.0.2.0/24', dev: 'ens3' },
  { dst: '192.168.13.0/24', dev: 'labbr0' },
]);
const LINKS = JSON.stringify([
  { ifname: 'lo', addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] },
  { ifname: 'ens3', addr_info: [{ family: 'inet', local: '10.0.2.15', prefixlen: 24 }] },
  { ifname: 'labbr0', addr_info: [{ family: 'inet', local: '192.168.13.1', prefixlen: 24 }] },
]);
const host = (forward = '-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n') =>
  recordingExecutor(([tool, , ...words]) =>
    tool === 'iptables' ? forward : words.includes('route') ? ROUTES : LINKS,
  );

/** A Multipass as it should be. */
function multipassSays(verb: string | undefined, version: string): string {
  if (verb === 'list') return '{"list": []}';
  return verb === 'version' ? `{"multipass": "${version}", "multipassd": "${version}"}` : 'qemu\n';
}

let root: string;
let places: HostPlaces;

/** Puts files below the root that is looked at. */
function place(files: Readonly<Record<string, string | Buffer>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'host-'));
  place({
    'proc/meminfo': 'MemTotal: 9 kB\nMemAvailable:    2048 kB\n',
    'proc/filesystems': 'nodev\tproc\nnodev\toverlay\n\text4\n',
    'proc/sys/kernel/osrelease': '6.1.0-test\n',
    'proc/sys/fs/inotify/max_user_instances': '128\n',
    'proc/sys/fs/inotify/max_user_watches': '8192\n',
    'proc/sys/net/bridge/bridge-nf-call-iptables': '1\n',
    'etc/resolv.conf': 'nameserver 192.0.2.53\n',
    'usr/bin/apt-get': '',
    'dev/kmsg': '',
  });
  const daemons = hostWith(mkdtempSync(join(tmpdir(), 'no-daemon-')));
  places = { cache: join(root, 'no/such/folder/yet'), state: join(root, 'state'), daemons, root };
});

const planFor = (value: DriverName) => ({
  ...plan,
  choices: { ...plan.choices, driver: { value, why: '' } },
});

describe('host facts', () => {
  it('are looked up without changing anything', async () => {
    const local = host();
    const facts = await gatherHostFacts(local, places, plan, []);
    expect(local.lines()).toEqual(['ip -j -4 route', 'ip -j addr', 'iptables -w -S FORWARD']);
    expect(facts).toMatchObject({
      platform: process.platform,
      uid: process.getuid?.(),
      node: { version: process.versions.node, floor: '20.19' },
      links: ['lo', 'ens3', 'labbr0'],
      bridgeIsOurs: false,
      bridgeNetfilter: true,
      dropsForwarded: true,
      resolvers: ['192.0.2.53'],
      freeMemoryBytes: 2048 * 1024,
      kernel: { release: '6.1.0-test' },
      inotify: { instances: 128, watches: 8192, writable: true },
      kvm: 'absent',
      kmsg: true,
      apt: true,
      otherLabs: [],
      unseen: {},
    });
    expect(facts.disks.map(({ use }) => use)).toEqual(['state', 'cache', 'machines']);
    for (const { freeBytes } of facts.disks) expect(freeBytes).toBeGreaterThan(0);
    expect(facts.routes.map(({ dev }) => dev)).toContain('labbr0');
    expect(Math.abs(facts.clock.now - Date.now())).toBeLessThan(60_000);
    expect(facts.clock.newestFile).toBeGreaterThan(Date.UTC(1980, 0));
  });

  it.each(['-P FORWARD ACCEPT\n', '-P FORWARD DROP\n-A FORWARD -i labbr0 -o labbr0 -j ACCEPT\n'])(
    'say that nothing is dropped with %j',
    async (forward) => {
      expect((await gatherHostFacts(host(forward), places, plan, [])).dropsForwarded).toBe(false);
    },
  );

  it('leave out what belongs to this lab already', async () => {
    const ours = [
      { kind: 'network' as const, name: 'labbr0', state: 'present' },
      { kind: 'machine' as const, name: 'bgp', state: 'running' },
    ];
    const facts = await gatherHostFacts(host(), places, plan, ours);
    expect(facts).toMatchObject({ bridgeIsOurs: true, existingMachines: ['bgp'] });
    expect([...facts.routes, ...facts.addresses].map(({ dev }) => dev)).not.toContain('labbr0');
  });

  it('name what could not be looked at, each with its reason', async () => {
    const bare = mkdtempSync(join(tmpdir(), 'bare-'));
    const nothing = recordingExecutor(() => undefined);
    const { unseen } = await gatherHostFacts(nothing, { ...places, root: bare }, plan, []);
    expect(Object.keys(unseen).sort()).toEqual(['inotify', 'kernel', 'memory', 'network']);
    expect(unseen.network).toContain('ip failed on this host');
    expect(unseen.memory).toContain('meminfo');
  });

  it('are those of the driver: Multipass is asked, and no container daemon', async () => {
    const local = recordingExecutor(([program, verb]) => {
      if (program === 'ip') return '';
      return multipassSays(verb, '1.16.3');
    });
    const facts = await gatherHostFacts(local, places, planFor('multipass'), []);
    expect(facts).toMatchObject({ daemons: [], multipass: { client: '1.16.3', driver: 'qemu' }, unseen: {} });
    expect(facts.kernel).toBeUndefined();
    const overSsh = await gatherHostFacts(host(), places, planFor('ssh'), []);
    expect(overSsh.disks.map(({ use }) => use)).toEqual(['state', 'cache']);
    expect(overSsh.multipass).toBeUndefined();
  });
});

describe('the kernel', () => {
  const OPTIONS = 'CONFIG_OVERLAY_FS=m\nCONFIG_PACKET=y\n# CONFIG_IPIP is not set\nCONFIG_HZ=250\n';

  it("is read from its own configuration before the distribution's", async () => {
    place({ 'proc/config.gz': gzipSync(OPTIONS), 'boot/config-6.1.0-test': 'CONFIG_IPIP=y\n' });
    const { config, filesystems } = await readKernel(root);
    expect([...(config ?? [])]).toEqual([
      ['OVERLAY_FS', 'm'],
      ['PACKET', 'y'],
    ]);
    expect(filesystems).toEqual(expect.arrayContaining(['proc', 'overlay', 'ext4']));
  });

  it.each([['boot/config-6.1.0-test'], ['lib/modules/6.1.0-test/config']])(
    'is read from %s',
    async (path) => {
      place({ [path]: OPTIONS });
      expect((await readKernel(root)).config?.get('OVERLAY_FS')).toBe('m');
    },
  );

  it('may say nothing', async () => {
    place({ 'boot/config-5.10.0-other': OPTIONS, 'lib/modules/5.10.0-other/modules.dep': 'kernel/a.ko:\n' });
    const kernel = await readKernel(root);
    expect(kernel).toMatchObject({ release: '6.1.0-test', active: [] });
    expect([kernel.config, kernel.modules]).toEqual([undefined, undefined]);
  });

  it('has modules that are loaded, built in, or lie there', async () => {
    place({
      'sys/module/nf_tables/refcnt': '1',
      'lib/modules/6.1.0-test/modules.dep':
        'kernel/fs/overlayfs/overlay.ko.xz: kernel/fs/x.ko.xz\nkernel/net/xt-nat.ko:\n',
      'lib/modules/6.1.0-test/modules.builtin': 'kernel/net/packet/af_packet.ko\n',
    });
    expect(await readKernel(root)).toMatchObject({
      active: ['nf_tables'],
      modules: ['overlay', 'xt_nat', 'af_packet'],
    });
  });

  it('of this machine can be read', async () => {
    expect((await readKernel()).filesystems).toContain('proc');
    expect((await readInotify()).instances).toBeGreaterThan(0);
  });
});

describe('the container daemons', () => {
  it('are absent, installed, silent or answering; nothing is started', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'daemon-'));
    const at = hostWith(folder, { start: ['true'] });
    const program = at.kinds[0]?.program ?? '';
    expect(await lookAtDaemons(at)).toEqual([
      { kind: 'lxd', program, unit: 'lxd.service', installed: false, startable: true, socket: 'absent' },
    ]);
    writeFileSync(program, '');
    writeFileSync(join(folder, 'unix.socket'), 'a file and no socket');
    const [silent] = await lookAtDaemons(at);
    expect(silent).toMatchObject({ installed: true, socket: 'silent' });
    expect(silent?.why).toMatch(/ECONNREFUSED|ENOTSOCK/);
    await expect(lookAtOtherLabs('bgp-lab', at)).rejects.toThrow('does not answer');
    expect(machineFolder([silent ?? never()], at)).toBe(folder);
    expect(machineFolder([], at)).toBe('/var/lib');
  });

  it('tell their version, and which other labs they hold', async () => {
    const server = await startIncusServer();
    const owned = (name: string, lab: string | undefined, config: Record<string, string>) =>
      server.networks.set(name, {
        name,
        config: { ...config, ...(lab === undefined ? {} : { 'user.k8s-bgp-lab.owner': lab }) },
      });
    owned('labbr0', 'bgp-lab', { 'ipv4.address': '192.168.13.1/24' });
    owned('labbr1', 'second', { 'ipv4.address': '192.168.14.1/24' });
    owned('lxdbr0', undefined, { 'ipv4.address': '10.1.2.1/24' });
    try {
      const at = hostWith(server.stateDir);
      const [daemon] = await lookAtDaemons(at);
      expect(daemon).toMatchObject({ socket: 'answers', version: '5.0.2', storageDrivers: ['dir', 'btrfs'] });
      expect(await lookAtOtherLabs('bgp-lab', at)).toEqual([
        { lab: 'second', bridge: 'labbr1', subnet: '192.168.14.1/24' },
      ]);
      expect(server.changes).toEqual([]);
    } finally {
      await server.close();
    }
  });

  it.runIf(process.getuid?.() !== 0)('may keep this user out', async () => {
    const server = await startIncusServer();
    try {
      chmodSync(server.socket, 0o000);
      expect((await lookAtDaemons(hostWith(server.stateDir)))[0]).toMatchObject({ socket: 'denied' });
    } finally {
      await server.close();
    }
  });
});

describe('Multipass', () => {
  const cured = (message: string, hint: string) => ({
    message: expect.stringContaining(message),
    hint: expect.stringContaining(hint),
  });
  const VERSION = '{"multipass": "1.16.3", "multipassd": "1.16.3"}';
  /** Texts and exit codes of canonical/multipass 1.16, src/client/common/client_common.cpp. */
  const refused = (text: string): Reply => ({ exitCode: 2, stderr: `get failed: ${text}\n` });

  it.each<[string, Reply | undefined, Reply | undefined, object]>([
    ['serves this user', VERSION, 'qemu\n', { client: '1.16.3', daemon: '1.16.3', driver: 'qemu' }],
    [
      'is not installed',
      { exitCode: 127, stderr: 'bash: multipass: not found' },
      undefined,
      { refusal: cured('it is not installed', 'sudo snap install multipass') },
    ],
    [
      'has no daemon',
      '{"multipass": "1.16.3"}',
      refused('cannot connect to the multipass socket'),
      { client: '1.16.3', refusal: cured('multipassd, does not answer', 'sudo snap start multipass') },
    ],
    [
      'does not know this user',
      '{"multipass": "1.16.3"}',
      refused('The user is not authenticated with the Multipass service.\n\nPlease authenticate before'),
      { client: '1.16.3', refusal: cured('does not know this user', 'multipass authenticate') },
    ],
    ['crashes', { exitCode: 1, stderr: '' }, '', { refusal: cured('exit code 1', 'multipass list') }],
    [
      'answers with something else',
      'multipass 1.16.3\n',
      '',
      { refusal: cured('as documented', 'multipass') },
    ],
  ])('%s', async (_, version, setting, expected) => {
    const local = recordingExecutor(([, verb]) => {
      if (verb === 'version') return version;
      return verb === 'list' && setting === 'qemu\n' ? '{"list": []}' : setting;
    });
    expect(await lookAtMultipass(local, { poll: 1, daemon: 20 })).toEqual(expected);
    for (const { options } of local.calls) expect(options.timeoutMs).toBeGreaterThan(0);
  });

  it('whose daemon restarts is waited for', async () => {
    let looks = 0;
    const local = recordingExecutor(([, verb]) =>
      verb === 'list' && ++looks < 3
        ? refused('cannot connect to the multipass socket')
        : multipassSays(verb, '1.16.3'),
    );
    const facts = await lookAtMultipass(local, { poll: 1 });
    expect(facts).toEqual({ client: '1.16.3', daemon: '1.16.3', driver: 'qemu' });
  });

  it('whose daemon was never started is told of as that', async () => {
    const local = recordingExecutor(() => recorded('down-list-json'));
    expect(await lookAtMultipass(local, { poll: 1, daemon: 20 })).toEqual({
      refusal: cured('multipassd, does not answer', 'sudo snap start multipass'),
    });
  });
});

function never(): never {
  throw new Error('nothing was looked at');
}
