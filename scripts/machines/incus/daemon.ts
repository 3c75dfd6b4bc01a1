import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Executor } from '../../exec/executor.ts';
import { type BackgroundProcess, backgroundWith, isRunning, startBackground } from '../../exec/local.ts';
import type { DaemonFact, OtherLab } from '../../plan/host-facts.ts';
import { messageOf, UserError } from '../../shared/errors.ts';
import type { Emit } from '../../shared/events.ts';
import { writeAtomic } from '../../shared/files.ts';
import { OWNER_KEY, RUN_DIR } from '../../shared/labels.ts';
import { TIMEOUTS } from '../../shared/timeouts.ts';
import { waitFor } from '../../shared/wait.ts';
import { DAEMON_LOG, type IncusApi, incusApi } from './api.ts';

const UNMOUNT_MS = 15_000;

/** A container daemon that this host may have: Incus, or LXD 5, whose API is the same. */
export interface DaemonKind {
  readonly name: 'incus' | 'lxd';
  readonly program: string;
  readonly stateDir: string;
  readonly unit: string;
  readonly start: readonly string[];
  readonly shutdown: readonly string[];
  /** What the daemon mounts for itself and leaves mounted when it stops. */
  readonly mounts: readonly string[];
}

const KINDS: readonly DaemonKind[] = [
  {
    name: 'incus',
    program: '/usr/libexec/incus/incusd',
    stateDir: '/var/lib/incus',
    unit: 'incus.service',
    start: ['/usr/libexec/incus/incusd', '--group', 'incus-admin'],
    shutdown: ['incus', 'admin', 'shutdown', '--timeout', '60'],
    mounts: ['/var/lib/incus/shmounts', '/var/lib/incus/guestapi'],
  },
  {
    name: 'lxd',
    program: '/usr/bin/lxd',
    stateDir: '/var/lib/lxd',
    unit: 'lxd.service',
    start: ['/usr/bin/lxd', '--group', 'lxd'],
    shutdown: ['lxd', 'shutdown', '--timeout', '60'],
    mounts: ['/var/lib/lxd/shmounts', '/var/lib/lxd/devlxd'],
  },
  {
    name: 'lxd',
    program: '/snap/bin/lxd',
    stateDir: '/var/snap/lxd/common/lxd',
    unit: 'snap.lxd.daemon.service',
    start: [],
    shutdown: [],
    mounts: [],
  },
];

/** Where daemons are looked for, and where the lab notes that it started one; tests put their own. */
export interface DaemonHost {
  readonly kinds: readonly DaemonKind[];
  /** Exists where the host runs systemd (sd_booted(3)). */
  readonly systemdDir: string;
  readonly runDir: string;
  /** The kernel's limit on inotify instances per user. */
  readonly limitFile: string;
}

export const THIS_HOST: DaemonHost = {
  kinds: KINDS,
  systemdDir: '/run/systemd/system',
  runDir: RUN_DIR,
  limitFile: '/proc/sys/fs/inotify/max_user_instances',
};

const markerIn = ({ runDir }: DaemonHost): string => join(runDir, 'daemon.json');
const logIn = ({ runDir }: DaemonHost): string => join(runDir, DAEMON_LOG);

/** A daemon that answers. */
export interface Daemon {
  readonly kind: 'incus' | 'lxd';
  readonly version: string;
  readonly storageDrivers: readonly string[];
  readonly api: IncusApi;
}

/** The answer to GET /1.0, as far as the lab reads it. */
interface ServerInfo {
  readonly auth: string;
  readonly environment: {
    readonly server_version: string;
    readonly storage_supported_drivers?: readonly { readonly Name: string }[] | null;
  };
}

/** For one answer, in milliseconds: a daemon that is starting opens its socket before it answers. */
const ANSWER_TIMEOUT_MS = 10_000;

const socketOf = ({ stateDir }: DaemonKind): string => join(stateDir, 'unix.socket');

/** What the socket of a daemon says. */
export async function askSocket(
  kind: DaemonKind,
): Promise<Pick<DaemonFact, 'socket' | 'why' | 'version' | 'storageDrivers'>> {
  const path = socketOf(kind);
  if (!existsSync(path)) return { socket: 'absent' };
  try {
    const info = await incusApi(path, ANSWER_TIMEOUT_MS).get<ServerInfo>('/1.0');
    if (info?.auth !== 'trusted') return { socket: 'untrusted' };
    const { server_version: version, storage_supported_drivers: drivers } = info.environment;
    return { socket: 'answers', version, storageDrivers: (drivers ?? []).map(({ Name }) => Name) };
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = (cause as NodeJS.ErrnoException | undefined)?.code;
    return code === 'EACCES' ? { socket: 'denied' } : { socket: 'silent', why: messageOf(cause ?? error) };
  }
}

/** The daemon that answers on this host, Incus first; undefined where none does. */
export async function findDaemon(host: DaemonHost = THIS_HOST): Promise<Daemon | undefined> {
  for (const kind of host.kinds) {
    const { socket, version = '', storageDrivers = [] } = await askSocket(kind);
    if (socket === 'answers')
      return { kind: kind.name, version, storageDrivers, api: incusApi(socketOf(kind)) };
  }
  return undefined;
}

/** Whether a daemon's program is installed, running or not. */
export function daemonInstalled(host: DaemonHost = THIS_HOST): boolean {
  return host.kinds.some((kind) => existsSync(kind.program));
}

/** The daemon, started if it is installed but does not answer. Tells whether it had to be started. */
export async function ensureDaemon(
  local: Executor,
  emit: Emit,
  host: DaemonHost = THIS_HOST,
): Promise<{ daemon: Daemon; changed: boolean }> {
  const running = await findDaemon(host);
  if (running) return { daemon: running, changed: false };
  await requireAllowed(host);
  const kind = host.kinds.find(({ program }) => existsSync(program));
  if (kind === undefined) {
    throw new UserError('Neither Incus nor LXD is installed.', {
      next: 'labup --yes   (installs it with apt)',
    });
  }
  emit({ type: 'note', text: `starting ${kind.name}` });
  const log = logIn(host);
  if (existsSync(host.systemdDir)) {
    await local.run(['systemctl', 'start', kind.unit], { timeoutMs: TIMEOUTS.daemonReady });
  } else {
    if (kind.start.length === 0) {
      throw new UserError(`${kind.name} is installed (${kind.program}) but does not run.`, {
        next: `start it (service ${kind.unit}), then run the command again`,
      });
    }
    // One that a killed labup has started may not answer yet; a second one beside it would not be noticed by anybody.
    if ((await ourDaemon(host)) === undefined) {
      await mkdir(host.runDir, { recursive: true, mode: 0o755 });
      const process = await startBackground(kind.start, log);
      await writeAtomic(markerIn(host), JSON.stringify(process));
    }
  }
  const daemon = await waitFor({
    what: `${kind.name} to answer on its socket`,
    timeoutMs: TIMEOUTS.daemonReady,
    look: async () => {
      const found = await findDaemon(host);
      return found ? { done: true, value: found } : { done: false, why: 'no answer' };
    },
    next: existsSync(host.systemdDir) ? `journalctl --lines 20 --unit ${kind.unit}` : `cat ${log}`,
    emit,
  });
  return { daemon, changed: true };
}

/** Throws UserError where a daemon answers that this user may not use: another one must not be started beside it. */
async function requireAllowed(host: DaemonHost): Promise<void> {
  for (const kind of host.kinds) {
    const { socket } = await askSocket(kind);
    if (socket !== 'denied' && socket !== 'untrusted') continue;
    throw new UserError(`The socket of ${kind.name} may not be used by this user: ${socketOf(kind)}`, {
      next: 'run the command as root, or as a user of the group that owns the socket',
    });
  }
}

/** The daemon that labup started by hand, if it still runs. */
export async function ourDaemon(host: DaemonHost = THIS_HOST): Promise<BackgroundProcess | undefined> {
  const text = await readFile(markerIn(host), 'utf8').catch(() => '');
  // A labup that was killed just then has started it and not noted it: it writes to our log all the same.
  if (text === '') return backgroundWith(logIn(host));
  const process = JSON.parse(text) as BackgroundProcess;
  return isRunning(process) ? process : undefined;
}

/** Whether labup has started a daemon here, be it that it was killed before it could note which. */
function hasStarted(host: DaemonHost): boolean {
  return existsSync(markerIn(host)) || existsSync(logIn(host));
}

/** Stops the daemon that labup started and unmounts what it left; a daemon of anybody else is not touched. */
export async function stopOurDaemon(
  local: Executor,
  emit: Emit,
  host: DaemonHost = THIS_HOST,
): Promise<void> {
  const process = await ourDaemon(host);
  if (process !== undefined) {
    const kind = host.kinds.find(({ program }) => existsSync(program));
    if (kind !== undefined) {
      emit({ type: 'note', text: `stopping ${kind.name}` });
      await local.run(kind.shutdown, { timeoutMs: TIMEOUTS.daemonReady });
      await waitFor({
        what: `${kind.name} to stop`,
        timeoutMs: TIMEOUTS.daemonReady,
        pollMs: 50,
        look: async () =>
          isRunning(process)
            ? { done: false, why: `process ${process.pid} runs` }
            : { done: true, value: true },
        next: `kill ${process.pid} && npx labdown --yes`,
      });
    }
  }
  if (!hasStarted(host)) return;
  for (const mount of await leftMounts(host)) await unmount(local, mount);
  await rm(host.runDir, { recursive: true, force: true });
}

// Seen once: a mount stays busy for a moment after the daemon has ended.
async function unmount(local: Executor, mount: string): Promise<void> {
  await waitFor({
    what: `${mount} to be unmounted`,
    timeoutMs: UNMOUNT_MS,
    look: async () => {
      await local.run(['umount', mount]);
      return { done: true, value: undefined };
    },
    next: 'npx labdown --yes   (goes on where this one stopped)',
  });
}

/** What a daemon that labup started left mounted when it stopped; nothing where labup started none. */
export async function leftMounts(host: DaemonHost = THIS_HOST): Promise<readonly string[]> {
  if (!hasStarted(host)) return [];
  const mounted = await readFile('/proc/self/mounts', 'utf8');
  const points = mounted.split('\n').map((line) => line.split(' ')[1] ?? '');
  return host.kinds.flatMap(({ mounts }) => mounts).filter((mount) => points.includes(mount));
}

/** What there is of every daemon that this host may have. Starts none. */
export async function lookAtDaemons(host: DaemonHost = THIS_HOST): Promise<readonly DaemonFact[]> {
  return Promise.all(
    host.kinds.map(async (kind) => ({
      kind: kind.name,
      program: kind.program,
      unit: kind.unit,
      installed: existsSync(kind.program),
      startable: existsSync(host.systemdDir) || kind.start.length > 0,
      ...(await askSocket(kind)),
    })),
  );
}

/**
 * The bridges that carry the owner label of another lab. Throws where a daemon is installed that does not answer: what
 * it holds is then not known.
 */
export async function lookAtOtherLabs(
  lab: string,
  host: DaemonHost = THIS_HOST,
): Promise<readonly OtherLab[]> {
  const daemon = await findDaemon(host);
  if (daemon === undefined) {
    if (host.kinds.some(({ program }) => existsSync(program)))
      throw new Error('the container daemon does not answer');
    return [];
  }
  interface Network {
    readonly name: string;
    readonly config: Readonly<Record<string, string>>;
  }
  const networks = (await daemon.api.get<readonly Network[]>('/1.0/networks?recursion=1')) ?? [];
  return networks.flatMap(({ name, config }) => {
    const owner = config[OWNER_KEY];
    if (owner === undefined || owner === lab) return [];
    const subnet = config['ipv4.address'];
    return [{ lab: owner, bridge: name, ...(subnet === undefined ? {} : { subnet }) }];
  });
}

/** Where the machines of the daemon that labup would use have their disks. */
export function machineFolder(daemons: readonly DaemonFact[], host: DaemonHost = THIS_HOST): string {
  const chosen =
    daemons.find(({ socket }) => socket === 'answers') ?? daemons.find(({ installed }) => installed);
  const kind = host.kinds.find(({ program }) => program === chosen?.program);
  return kind?.stateDir ?? '/var/lib';
}
