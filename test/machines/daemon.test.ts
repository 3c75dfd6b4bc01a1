import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRunning, thisProcess } from '../../scripts/exec/local.ts';
import {
  type DaemonHost,
  daemonInstalled,
  ensureDaemon,
  findDaemon,
  leftMounts,
  ourDaemon,
  stopOurDaemon,
} from '../../scripts/machines/incus/daemon.ts';
import { incusDriver } from '../../scripts/machines/incus/driver.ts';
import { silent } from '../../scripts/shared/events.ts';
import { startIncusServer } from '../fakes/incus-server.ts';
import { recordingExecutor } from '../fakes/recording-executor.ts';
import { hostWith } from './fixtures.ts';

/** A program that answers GET /1.0 on the socket that it is given, until it is told to end. */
const DAEMON = `
  const answer = { type: 'sync', metadata: { auth: 'trusted', environment: { server_version: '6.0' } } };
  require('node:http').createServer((_, to) => to.end(JSON.stringify(answer))).listen(process.argv[1]);
`;

let folder: string;
let host: DaemonHost;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daemon-'));
  host = hostWith(folder, { start: [process.execPath, '-e', DAEMON, join(folder, 'unix.socket')] });
});
afterEach(async () => {
  const left = await ourDaemon(host);
  if (left !== undefined) process.kill(left.pid, 'SIGKILL');
});

/** The program's file, which is what "installed" means. */
function install(): void {
  writeFileSync(join(folder, 'program'), '');
}

/** This host, where `lxd shutdown` does what it should. */
function shutdownExecutor() {
  return recordingExecutor(async (argv) => {
    const running = await ourDaemon(host);
    if (argv.join(' ') === 'lxd shutdown' && running !== undefined) process.kill(running.pid, 'SIGTERM');
    return '';
  });
}

describe('looking for a daemon', () => {
  it('finds none where there is nothing, or only what does not answer', async () => {
    expect(await findDaemon(host)).toBeUndefined();
    writeFileSync(join(folder, 'unix.socket'), 'a file and no socket');
    expect(await findDaemon(host)).toBeUndefined();
  });

  it('finds the one that answers, though another was there', async () => {
    const server = await startIncusServer();
    const both = { ...host, kinds: [...host.kinds, ...hostWith(server.stateDir, { name: 'incus' }).kinds] };
    writeFileSync(join(folder, 'unix.socket'), 'stale');
    expect(await findDaemon(both)).toMatchObject({
      kind: 'incus',
      version: '5.0.2',
      storageDrivers: ['dir', 'btrfs'],
    });
    await server.close();
  });

  it('tells whether one is installed', () => {
    expect(daemonInstalled(host)).toBe(false);
    install();
    expect(daemonInstalled(host)).toBe(true);
  });
});

describe('starting a daemon', () => {
  it('does nothing where one answers', async () => {
    const server = await startIncusServer();
    const local = recordingExecutor();
    const { changed } = await ensureDaemon(local, silent, hostWith(server.stateDir));
    expect([changed, local.lines()]).toEqual([false, []]);
    await server.close();
  });

  it('asks the user to install one where there is none', async () => {
    const starting = ensureDaemon(recordingExecutor(), silent, host);
    await expect(starting).rejects.toMatchObject({
      exitCode: 2,
      message: 'Neither Incus nor LXD is installed.',
    });
  });

  it('starts it in the background without systemd, notes it, and stops exactly that one', async () => {
    install();
    const { changed, daemon } = await ensureDaemon(recordingExecutor(), silent, host);
    expect([changed, daemon.version]).toEqual([true, '6.0']);
    const running = await ourDaemon(host);
    expect(running && isRunning(running)).toBe(true);

    const local = shutdownExecutor();
    await stopOurDaemon(local, silent, host);
    expect(local.lines()).toEqual(['lxd shutdown']);
    expect(running && isRunning(running)).toBe(false);
    expect(existsSync(host.runDir)).toBe(false);
  });

  it('waits for one that a killed labup has started, and starts no second one', async () => {
    install();
    const killed = ensureDaemon(recordingExecutor(), silent, host);
    await expect.poll(() => ourDaemon(host)).toBeDefined();
    const running = await ourDaemon(host);
    const { daemon } = await ensureDaemon(recordingExecutor(), silent, host);
    expect(daemon.version).toBe('6.0');
    expect(await ourDaemon(host)).toEqual(running);
    await killed;
    await stopOurDaemon(shutdownExecutor(), silent, host);
    expect(running && isRunning(running)).toBe(false);
  });

  it('asks systemd where there is one, and then it is not ours to stop', async () => {
    install();
    mkdirSync(host.systemdDir);
    const server = await startIncusServer();
    const kinds = hostWith(server.stateDir).kinds;
    // The unit is started, and only then does the daemon answer.
    const known: DaemonHost['kinds'][number][] = [...host.kinds];
    const local = recordingExecutor(() => {
      known.push(...kinds);
      return '';
    });
    expect((await ensureDaemon(local, silent, { ...host, kinds: known })).changed).toBe(true);
    expect(local.lines()).toEqual(['systemctl start lxd.service']);
    expect(await ourDaemon(host)).toBeUndefined();
    await server.close();
  });

  it('says what to do about one that it cannot start', async () => {
    install();
    const snap = hostWith(folder, { start: [] });
    await expect(ensureDaemon(recordingExecutor(), silent, snap)).rejects.toMatchObject({ exitCode: 2 });
  });
});

describe('a daemon of somebody else', () => {
  it('is not stopped, and nothing is unmounted', async () => {
    const local = recordingExecutor();
    await stopOurDaemon(local, silent, host);
    expect(local.lines()).toEqual([]);
  });

  it.each(['', undefined])('is known by its log where a killed labup has noted %j of it', async (noted) => {
    install();
    await ensureDaemon(recordingExecutor(), silent, host);
    const marker = join(host.runDir, 'daemon.json');
    const written = readFileSync(marker, 'utf8');
    if (noted === undefined) rmSync(marker);
    else writeFileSync(marker, noted);
    expect(JSON.stringify(await ourDaemon(host))).toBe(written);
    const local = shutdownExecutor();
    await stopOurDaemon(local, silent, host);
    expect(local.lines()).toContain('lxd shutdown');
    expect(existsSync(host.runDir)).toBe(false);
  });

  it('is not stopped where it has the process id of one that was ours', async () => {
    install();
    mkdirSync(host.runDir);
    const reused = { ...thisProcess(), startTime: '1' };
    writeFileSync(join(host.runDir, 'daemon.json'), JSON.stringify(reused));
    const local = recordingExecutor();
    await stopOurDaemon(local, silent, host);
    expect(local.lines()).toEqual([]);
  });
});

describe('what a stopped daemon leaves', () => {
  it('are mounts, which are seen and taken away', async () => {
    const points = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '');
    const mounted = points.find((point) => point.startsWith('/dev/')) ?? '/proc';
    const left = hostWith(folder, { mounts: [mounted, '/no/such/mount'] });
    expect(await leftMounts(left)).toEqual([]);
    mkdirSync(host.runDir);
    writeFileSync(join(host.runDir, 'daemon.json'), JSON.stringify({ pid: 2 ** 22 + 1, startTime: '1' }));
    expect(await incusDriver(recordingExecutor(), left).observe('bgp-lab')).toEqual([
      { kind: 'mount', name: mounted, state: 'mounted' },
    ]);
    const local = recordingExecutor();
    await stopOurDaemon(local, silent, left);
    expect(local.lines()).toEqual([`umount ${mounted}`]);
    expect(existsSync(host.runDir)).toBe(false);
  });
});
