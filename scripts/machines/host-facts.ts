import { existsSync } from 'node:fs';
import { access, constants, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { Executor } from '../exec/executor.ts';
import {
  type DaemonFact,
  type DiskFact,
  type HostFacts,
  type HostRoute,
  type KernelFact,
  parseResolvers,
  type Unseen,
} from '../plan/host-facts.ts';
import type { LabPlan } from '../plan/types.ts';
import { messageOf, rethrowIfInterrupted } from '../shared/errors.ts';
import { assetPath, readAsset } from '../shared/files.ts';
import { type KernelRoute, readLinks, readRoutes } from '../shared/ip-json.ts';
import type { ObservedThing } from './driver.ts';
import { type DaemonHost, lookAtDaemons, lookAtOtherLabs, machineFolder, THIS_HOST } from './incus/daemon.ts';
import { lookAtMultipass, MULTIPASS_FOLDER } from './multipass/host.ts';

/** The facts that are looked up on the host itself; the others come from cache, packages and state folder. */
export type SeenFacts = Omit<
  HostFacts,
  'differences' | 'missingArtifacts' | 'missingPackages' | 'networkReachable'
>;

/** Only there where the module br_netfilter is, which switches it on by itself. */
const BRIDGE_NETFILTER = '/proc/sys/net/bridge/bridge-nf-call-iptables';

/** Where to look; what is absent is this host's. */
export interface HostPlaces {
  /** The folders of the artifacts and of the lab's state, which need not exist. */
  readonly cache: string;
  readonly state: string;
  readonly daemons?: DaemonHost;
  /** The folder in which /proc, /sys, /boot, /lib/modules and /dev are looked for. */
  readonly root?: string;
}

/**
 * Looks at this host, as far as the lab depends on it. `ours` is what exists of the lab. Changes nothing, and needs no
 * root: what cannot be looked at is named in `unseen`, with the reason.
 */
export async function gatherHostFacts(
  local: Executor,
  places: HostPlaces,
  plan: LabPlan,
  ours: readonly ObservedThing[],
): Promise<SeenFacts> {
  const { cache, state, daemons: daemonHost = THIS_HOST, root = '' } = places;
  const { driver } = plan.choices;
  const unseen: Partial<Record<Unseen, string>> = {};
  const look = async <T>(what: Unseen, looked: Promise<T>): Promise<T | undefined> =>
    looked.catch((error: unknown) => {
      rethrowIfInterrupted(error);
      unseen[what] = messageOf(error);
      return undefined;
    });
  const isContainers = driver.value === 'incus';
  const daemons: readonly DaemonFact[] = isContainers ? await lookAtDaemons(daemonHost) : [];
  const machines = isContainers ? machineFolder(daemons, daemonHost) : MULTIPASS_FOLDER;
  const [network, resolvConf, memory, disks, kernel, inotify, otherLabs, multipass] = await Promise.all([
    look('network', lookAtNetworks(local)),
    readFile(`${root}/etc/resolv.conf`, 'utf8').catch(() => ''),
    look('memory', freeMemory(root)),
    look('disk', diskFacts({ state, cache, ...(driver.value === 'ssh' ? {} : { machines }) })),
    isContainers ? look('kernel', readKernel(`${root}/`)) : undefined,
    isContainers ? look('inotify', readInotify(`${root}/`)) : undefined,
    isContainers ? look('other labs', lookAtOtherLabs(plan.lab, daemonHost)) : undefined,
    driver.value === 'multipass' ? lookAtMultipass(local) : undefined,
  ]);
  const bridgeNetfilter =
    (await readFile(`${root}${BRIDGE_NETFILTER}`, 'utf8').catch(() => '')).trim() === '1';
  return {
    platform: process.platform,
    uid: process.getuid?.() ?? -1,
    node: { version: process.versions.node, floor: nodeFloor() },
    clock: { now: Date.now(), newestFile: await newestFile() },
    ...withoutOurs(
      network ?? { routes: [], addresses: [], links: [], tunnels: [] },
      plan.network.bridge,
      ours,
    ),
    bridgeNetfilter,
    dropsForwarded: bridgeNetfilter && (await dropsForwarded(local, plan.network.bridge)),
    resolvers: parseResolvers(resolvConf),
    disks: disks ?? [],
    freeMemoryBytes: memory ?? 0,
    existingMachines: ours.filter(({ kind }) => kind === 'machine').map(({ name }) => name),
    kernel,
    inotify,
    kvm: await kvmState(`${root}/dev/kvm`),
    kmsg: existsSync(`${root}/dev/kmsg`),
    daemons,
    otherLabs: otherLabs ?? [],
    multipass,
    apt: existsSync(`${root}/usr/bin/apt-get`),
    unseen,
  };
}

/** What the lab's own bridge brought to the host is nothing that the lab could collide with. */
function withoutOurs(
  network: NetworkFacts,
  bridge: string,
  ours: readonly ObservedThing[],
): NetworkFacts & Pick<HostFacts, 'bridgeIsOurs'> {
  const bridgeIsOurs = ours.some(({ kind, name }) => kind === 'network' && name === bridge);
  const isForeign = ({ dev }: { readonly dev?: string | undefined }) => dev !== bridge || !bridgeIsOurs;
  return {
    ...network,
    routes: network.routes.filter(isForeign),
    addresses: network.addresses.filter(isForeign),
    bridgeIsOurs,
  };
}

/** Reads the policy of iptables' FORWARD; what may not be read (not root) or has no iptables counts as letting pass. */
async function dropsForwarded(local: Executor, bridge: string): Promise<boolean> {
  try {
    const { stdout } = await local.run(['iptables', '-w', '-S', 'FORWARD']);
    return stdout.includes('-P FORWARD DROP') && !stdout.includes(` ${bridge} `);
  } catch (error) {
    rethrowIfInterrupted(error);
    return false;
  }
}

async function freeMemory(root: string): Promise<number> {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile(`${root}/proc/meminfo`, 'utf8'))?.[1];
  if (available === undefined) throw new Error('/proc/meminfo has no MemAvailable');
  return Number(available) * 1024;
}

async function diskFacts(folders: Readonly<Partial<Record<DiskFact['use'], string>>>): Promise<DiskFact[]> {
  const uses = Object.entries(folders) as [DiskFact['use'], string][];
  return Promise.all(
    uses.map(async ([use, path]) => {
      const there = existingParent(path);
      const [{ dev }, { bavail, bsize }] = await Promise.all([stat(there), statfs(there)]);
      return { use, path, device: dev, freeBytes: bavail * bsize };
    }),
  );
}

async function kvmState(path: string): Promise<HostFacts['kvm']> {
  if (!existsSync(path)) return 'absent';
  return access(path, constants.R_OK | constants.W_OK).then(
    () => 'usable' as const,
    () => 'denied' as const,
  );
}

/** The oldest Node.js that package.json allows: ">=20.19" is 20.19. */
function nodeFloor(): string {
  const { engines } = JSON.parse(readAsset('package.json')) as { engines: { node: string } };
  return engines.node.replace(/^>=/, '');
}

// npm gives packed files a date of 1985, so that only a clock before that is found wrong there by them.
async function newestFile(): Promise<number> {
  const paths = ['package.json', 'README.md', 'dist/scripts/lab.js'].map((path) => assetPath(path));
  const times = paths.filter((path) => existsSync(path)).map(async (path) => (await stat(path)).mtimeMs);
  return Math.max(0, ...(await Promise.all(times)));
}

function existingParent(path: string): string {
  return existsSync(path) ? path : existingParent(dirname(path));
}

/** The networks of a host. */
export type NetworkFacts = Pick<HostFacts, 'routes' | 'addresses' | 'links' | 'tunnels'>;

/** Looks at the networks of this host. */
export async function lookAtNetworks(local: Executor): Promise<NetworkFacts> {
  const [routes, addresses] = await Promise.all([
    local.run(['ip', '-j', '-4', 'route']),
    local.run(['ip', '-j', 'addr']),
  ]);
  const links = readLinks(addresses.stdout);
  return {
    routes: readRoutes(routes.stdout).map(hostRoute),
    addresses: links.flatMap((link) => link.addresses),
    links: links.map(({ name }) => name),
    tunnels: links.filter(({ isTunnel }) => isTunnel).map(({ name }) => name),
  };
}

/** What a route of the kernel means for the host. */
export function hostRoute({ dst, type, dev, gateway, via, nexthops }: KernelRoute): HostRoute {
  if (type !== 'unicast') return { dst, kind: 'blocked' };
  const isVia = gateway !== undefined || via !== undefined || nexthops !== undefined;
  return { dst, kind: isVia ? 'via' : 'connected', ...(dev && { dev }) };
}

/** What the running kernel says of itself, below `root`. Loads no module. Throws where /proc is not Linux'. */
export async function readKernel(root = '/'): Promise<KernelFact> {
  const release = (await readFile(join(root, 'proc/sys/kernel/osrelease'), 'utf8')).trim();
  const [filesystems, active, config, modules] = await Promise.all([
    readFile(join(root, 'proc/filesystems'), 'utf8'),
    readdir(join(root, 'sys/module')).catch(absent([])),
    readConfig(root, release),
    readModules(join(root, 'lib/modules', release)),
  ]);
  return {
    release,
    // "nodev	overlay": what needs no device has a word before its name.
    filesystems: filesystems.split('\n').flatMap((line) => line.trim().split(/\s+/).slice(-1)),
    active: active.map(moduleName),
    ...(config === undefined ? {} : { config }),
    ...(modules === undefined ? {} : { modules }),
  };
}

/** The limits of inotify, and whether this process may raise the first of them. Throws where there are none. */
export async function readInotify(root = '/'): Promise<NonNullable<HostFacts['inotify']>> {
  const folder = join(root, 'proc/sys/fs/inotify');
  const read = async (name: string) => Number(await readFile(join(folder, name), 'utf8'));
  const instances = 'max_user_instances';
  const writable = await access(join(folder, instances), constants.W_OK).then(
    () => true,
    () => false,
  );
  return { instances: await read(instances), watches: await read('max_user_watches'), writable };
}

// The kernel's own copy first; the other two are where distributions put it.
async function readConfig(root: string, release: string): Promise<KernelFact['config']> {
  const packed = await readFile(join(root, 'proc/config.gz')).catch(absent(undefined));
  if (packed !== undefined) return parseConfig((await promisify(gunzip)(packed)).toString('utf8'));
  for (const path of [`boot/config-${release}`, `lib/modules/${release}/config`]) {
    const text = await readFile(join(root, path), 'utf8').catch(absent(undefined));
    if (text !== undefined) return parseConfig(text);
  }
  return undefined;
}

function parseConfig(text: string): ReadonlyMap<string, 'y' | 'm'> {
  const lines = [...text.matchAll(/^CONFIG_(\w+)=([ym])$/gm)];
  return new Map(lines.map(([, option = '', value]) => [option, value === 'm' ? 'm' : 'y']));
}

// modules.dep has a line "kernel/fs/overlayfs/overlay.ko.xz: ..." for each file, modules.builtin one without a colon.
async function readModules(folder: string): Promise<readonly string[] | undefined> {
  const read = (name: string) => readFile(join(folder, name), 'utf8').catch(absent(undefined));
  const lists = [await read('modules.dep'), await read('modules.builtin')].filter(
    (text) => text !== undefined,
  );
  if (lists.length === 0) return undefined;
  return lists.flatMap((text) =>
    text.split('\n').flatMap((line) => {
      const path = line.split(':')[0] ?? '';
      return path === '' ? [] : [moduleName(basename(path).replace(/\.ko(\.\w+)?$/, ''))];
    }),
  );
}

/** The kernel takes both for the same. */
function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

function absent<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return value;
    throw error;
  };
}
