import { existsSync } from 'node:fs';
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Executor } from '../exec/executor.ts';
import {
  type DaemonFact,
  type DiskFact,
  type HostFacts,
  parseResolvers,
  type Unseen,
} from '../plan/host-facts.ts';
import type { LabPlan } from '../plan/types.ts';
import { assetPath, readAsset } from '../shared/assets.ts';
import { messageOf, rethrowIfInterrupted } from '../shared/errors.ts';
import type { ObservedThing } from './driver.ts';
import { lookAtNetworks, type NetworkFacts } from './host-network.ts';
import { type DaemonHost, THIS_HOST } from './incus/daemon.ts';
import { lookAtDaemons, lookAtOtherLabs, machineFolder } from './incus/look.ts';
import { readInotify, readKernel } from './kernel-facts.ts';
import { lookAtMultipass, MULTIPASS_FOLDER } from './multipass/look.ts';

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
    bridgeNetfilter: (await readFile(`${root}${BRIDGE_NETFILTER}`, 'utf8').catch(() => '')).trim() === '1',
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
